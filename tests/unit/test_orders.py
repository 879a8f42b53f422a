"""The order domain."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import InvalidOrder, KeyConflict, UnknownOrder
from orders.model import Item, Order, Status, Update
from orders.pricing import total_cents
from orders.samples import orders_from_file, sample_orders
from orders.service import OrderService
from orders.store import ForgetfulStore, MemoryStore
from orders.validation import (
    MAX_ATTACHMENT_BYTES,
    MAX_ITEMS,
    MAX_WORK_US,
    breaches,
    validate,
)
from tests.support import LIMIT_S, Run, order, until


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


def test_work_goes_on_when_who_asked_has_left(run: Run) -> None:
    store = MemoryStore()

    async def case() -> None:
        service = OrderService(store, service_time_s=0.05)
        first = asyncio.create_task(service.place(order("k")))
        second = asyncio.create_task(service.place(order("k")))
        await asyncio.sleep(0)
        first.cancel()
        answer = await second
        assert answer.status is Status.CONFIRMED
        with pytest.raises(asyncio.CancelledError):
            await first
        alone = asyncio.create_task(service.place(order("other")))
        await asyncio.sleep(0)
        alone.cancel()
        await until("the work that nobody waits for is done", lambda: len(store) == 2)
        assert service.placed == 2
        assert await service.place(order("k")) == answer

    run(case())


def test_a_repeat_of_other_content_is_refused_while_the_first_is_worked_on(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore(), service_time_s=60.0)
        service.accept(order("k"))
        with pytest.raises(KeyConflict):
            await service.place(order("k", price=1))
        with pytest.raises(KeyConflict):
            service.accept(order("k", price=1))
        with pytest.raises(InvalidOrder):
            service.accept(order(""))
        await end(service)

    run(case())


async def end(service: OrderService) -> None:
    """Break off the work that a test has begun and does not wait for."""
    for work in service._working.values():
        assert work.task is not None
        work.task.cancel()
    await asyncio.sleep(0)


def test_an_order_is_accepted_before_it_is_worked_on(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore(), service_time_s=0.02)
        receipt = service.accept(order("k"))
        assert (receipt.status, receipt.progress) == (Status.RECEIVED, 0)
        assert (receipt.idempotency_key, receipt.final) == ("k", False)
        assert service.state(receipt.order_id) == receipt
        assert service.accept(order("k")) == receipt
        assert service.placed == 0
        final = await service.settled(receipt.order_id, LIMIT_S)
        assert final.final
        assert (final.progress, final.total_cents) == (100, total_cents(order("k")))
        assert final.order_id == receipt.order_id
        assert final.at_ns - receipt.at_ns >= 20_000_000
        assert service.state(receipt.order_id) == final == service.accept(order("k"))
        assert await service.place(order("k")) == final.confirmation()
        assert service.placed == 1

    run(case())


def test_an_order_that_takes_no_work_is_accepted_all_the_same(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore())
        receipt = service.accept(order("k"))
        assert receipt.status is Status.RECEIVED
        assert (await service.settled(receipt.order_id, LIMIT_S)).final
        placed = await service.place(order("other"))
        known = service.accept(order("other"))
        assert known.confirmation() == placed
        assert service.state(placed.order_id) == known

    run(case())


def test_an_order_says_how_long_its_work_is(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore(), service_time_s=60.0)
        began = time.monotonic_ns()
        answer = await service.place(replace(order("k"), work_us=20_000))
        assert answer.processed_ns - began >= 20_000_000

    run(case())


def test_who_follows_hears_of_progress_and_of_the_end(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore(), progress_s=0.02)
        receipt = service.accept(replace(order("k"), work_us=100_000))
        told: list[Update] = []
        stood: list[Update] = []
        joined: list[Update] = []

        def listen(update: Update) -> None:
            told.append(update)
            stood.append(service.state(update.order_id))
            if update.progress == 40:
                service.follow(update.order_id, joined.append)

        service.follow(receipt.order_id, listen)
        final = await service.settled(receipt.order_id, LIMIT_S)
        assert [each.progress for each in told] == [20, 40, 60, 80, 100]
        assert [each.status for each in told] == [Status.WORKING] * 4 + [Status.CONFIRMED]
        assert {(each.order_id, each.idempotency_key) for each in told} == {(receipt.order_id, "k")}
        instants = [receipt.at_ns, *(each.at_ns for each in told)]
        assert instants == sorted(instants)
        assert told[-1] == final
        assert stood == told
        assert joined == told[2:]
        late: list[Update] = []
        service.follow(receipt.order_id, late.append)
        assert late == []  # never from within the call
        await until("the end is told to who comes after it", lambda: late == [final])

    run(case())


def test_who_waits_for_the_end_is_told_how_far_it_is(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore(), service_time_s=60.0, progress_s=0.01)
        receipt = service.accept(order("k"))
        update = await service.settled(receipt.order_id, 0.03)
        assert not update.final
        assert update.at_ns >= receipt.at_ns
        waiting = asyncio.create_task(service.settled(receipt.order_id, LIMIT_S))
        await asyncio.sleep(0)
        assert len(service._working["k"].notify) == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # Who has left is not told, and not kept.
        assert service._working["k"].notify == []
        await end(service)

    run(case())


def test_an_order_that_was_never_accepted_is_unknown(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore())
        for ask in (service.state, lambda order_id: service.follow(order_id, print)):
            with pytest.raises(UnknownOrder, match="no order 'o-9'"):
                ask("o-9")
        with pytest.raises(UnknownOrder):
            await service.settled("o-9", 1.0)

    run(case())


def test_who_watches_hears_of_every_order_once_with_its_document(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore(), service_time_s=0.01)
        told: list[Update] = []
        service.watchers.append(told.append)
        await service.place(replace(order("k"), attachment=b"a document"))
        await service.place(replace(order("k"), attachment=b"a document"))
        receipt = service.accept(order("other"))
        final = await service.settled(receipt.order_id, LIMIT_S)
        assert [(each.idempotency_key, each.attachment) for each in told] == [
            ("k", b"a document"),
            ("other", b""),
        ]
        assert told[-1] == final
        # A subscriber that is told may leave meanwhile.
        service.watchers[:] = [lambda _: service.watchers.clear(), told.append]
        await service.place(order("third"))
        assert (len(told), service.watchers) == (3, [])

    run(case())


def test_a_service_that_forgets_does_the_work_again(run: Run) -> None:
    async def case() -> None:
        service = OrderService(ForgetfulStore(), service_time_s=0.01)
        answers = await asyncio.gather(*(service.place(order("k")) for _ in range(3)))
        assert len({each.order_id for each in answers}) == 3
        assert service.placed == 3
        await service.place(order("k", price=1))  # nothing is known that it could conflict with
        first, second = service.accept(order("k")), service.accept(order("k"))
        told: list[Update] = []
        service.follow(first.order_id, told.append)
        ends = [await service.settled(each.order_id, LIMIT_S) for each in (first, second)]
        assert [each.order_id for each in ends] == [first.order_id, second.order_id]
        assert told == ends[:1]
        assert service.placed == 6

    run(case())


def test_a_document_is_part_of_the_order(run: Run) -> None:
    with_document = replace(order("k"), attachment=b"x" * 1000)

    async def case() -> None:
        service = OrderService(MemoryStore())
        first = await service.place(with_document)
        assert await service.place(replace(with_document, attachment=b"x" * 1000)) == first
        with pytest.raises(KeyConflict):
            await service.place(replace(with_document, attachment=b"y" * 1000))
        with pytest.raises(KeyConflict):
            await service.place(order("k"))
        # How long the work takes is no part of what is asked for.
        assert await service.place(replace(with_document, work_us=5)) == first

    run(case())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"attachment": bytes(MAX_ATTACHMENT_BYTES + 1)}, "attachment must have at most 4194304"),
        ({"work_us": -1}, "work_us must be 0 to 60000000"),
        ({"work_us": MAX_WORK_US + 1}, "work_us must be 0 to 60000000"),
    ],
)
def test_documents_and_work_have_bounds(change: dict[str, Any], word: str) -> None:
    (breach,) = breaches(replace(order("k"), **change))
    assert breach.startswith(word)


def test_the_bounds_themselves_are_allowed() -> None:
    largest = replace(order("k"), attachment=bytes(MAX_ATTACHMENT_BYTES), work_us=MAX_WORK_US)
    assert breaches(largest) == []


def test_of_too_many_items_none_is_looked_at() -> None:
    bad = Order("k", "c", [Item("", 0, -1)] * (MAX_ITEMS + 1))
    assert breaches(bad) == [f"items must be 1 to {MAX_ITEMS}, not {MAX_ITEMS + 1}"]
