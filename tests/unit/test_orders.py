"""The order domain."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import InvalidOrder, KeyConflict
from orders.model import Item, Order, Status
from orders.pricing import total_cents
from orders.samples import orders_from_file, sample_orders
from orders.service import OrderService
from orders.store import MemoryStore
from orders.validation import breaches, validate
from tests.support import Run, order


@pytest.mark.parametrize(
    ("quantity", "price", "total"),
    [(1, 100, 100), (9, 100, 900), (10, 100, 950), (11, 99, 1035), (20, 0, 0)],
)
def test_a_line_of_ten_or_more_is_cheaper_rounded_down(
    quantity: int, price: int, total: int
) -> None:
    assert total_cents(Order("k", "c", [Item("s", quantity, price)])) == total


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**8)), min_size=1, max_size=20))
def test_an_order_costs_the_sum_of_its_lines(lines: list[tuple[int, int]]) -> None:
    items = [Item("s", quantity, price) for quantity, price in lines]
    assert total_cents(Order("k", "c", items)) == sum(
        total_cents(Order("k", "c", [item])) for item in items
    )


def test_every_breach_is_named_at_once() -> None:
    bad = Order("", "", [Item("", 0, -1), Item("s", 1, 1)])
    assert len(breaches(bad)) == 5
    with pytest.raises(InvalidOrder, match=r"items\[0\].quantity"):
        validate(bad)


@pytest.mark.parametrize("items", [1, 10, 100, 1000])
def test_samples_are_valid_and_follow_the_seed(items: int) -> None:
    orders = sample_orders(items, seed=7)
    assert all(not breaches(o) and len(o.items) == items for o in orders)
    assert orders == sample_orders(items, seed=7)
    assert orders != sample_orders(items, seed=8)
    assert len({str(o.items) for o in orders}) > 1


def test_orders_from_a_file(tmp_path: Path) -> None:
    line = {"customer_id": "c", "items": [{"sku": "s", "quantity": 1, "unit_price_cents": 5}]}
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(line) + "\n\n" + json.dumps(line) + "\n")
    assert [total_cents(o) for o in orders_from_file(good)] == [5, 5]
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"customer_id": "c"}\nnonsense\n' + json.dumps({**line, "items": []}))
    with pytest.raises(ValueError, match=r"line 1.*line 2.*line 3: items must be"):
        orders_from_file(bad)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="no orders"):
        orders_from_file(tmp_path / "empty.jsonl")


def test_the_same_key_is_the_same_order(run: Run) -> None:
    store = MemoryStore()

    async def case() -> None:
        service = OrderService(store)
        first = await service.place(order("k"))
        assert first.status is Status.CONFIRMED
        assert await service.place(order("k")) == first
        with pytest.raises(KeyConflict):
            await service.place(order("k", price=1))

    run(case())
    assert len(store) == 1


def test_two_at_once_do_the_work_once(run: Run) -> None:
    store = MemoryStore()

    async def case() -> None:
        service = OrderService(store, service_time_s=0.02)
        answers = await asyncio.gather(*(service.place(order("k")) for _ in range(5)))
        assert len({a.order_id for a in answers}) == 1

    run(case())
    assert len(store) == 1


def test_work_that_is_broken_off_is_done_by_the_next(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore(), service_time_s=0.05)
        first = asyncio.create_task(service.place(order("k")))
        second = asyncio.create_task(service.place(order("k")))
        await asyncio.sleep(0.01)
        first.cancel()
        assert (await second).status is Status.CONFIRMED

    run(case())
