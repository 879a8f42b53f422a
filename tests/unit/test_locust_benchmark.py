"""What benchmarks/locust.py makes of runs and readings (issue 8, "must be seen")."""

import argparse
import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from benchmarks.call_tools import BODIES
from benchmarks.locust import (
    AGAIN,
    LOADS,
    PLAIN,
    THROUGH,
    Seen,
    mean_cpu,
    report,
    seen_in,
    used_between,
    within_floor,
    words_of,
)
from benchmarks.rounds import Line, taken
from harness.cli import locust as through_locust
from harness.cli import run as plain_run
from harness.load.messages import OrderSpec
from harness.load.orders import OrderBook
from harness.plan import Plan
from harness.results import Run, Samples, write_samples
from harness.swarm import form
from protos.codecs import JSON
from tests.unit.test_summary import MS, WINDOW, samples, with_outcome


def test_locusts_orders_are_the_generators_to_the_byte() -> None:
    """Issue 8: the same REST server, and the same orders."""
    book = OrderBook(OrderSpec(3), "0123456789ab-", seed=1, block=0)
    for number in range(2 * len(BODIES)):
        before, after = BODIES[number % len(BODIES)]
        ours = JSON.encode_order(book.order(number))
        assert f"{before}0123456789ab-{number}{after}".encode() == ours


def planned(words: list[str]) -> Plan:
    parser = argparse.ArgumentParser()
    plain_run.arguments(parser)
    return plain_run.prepare(parser.parse_args(words)).plan


@pytest.mark.parametrize("load", LOADS)
def test_both_ways_are_the_same_plan(load: str) -> None:
    """Issue 8: the same scenario."""
    parser = argparse.ArgumentParser()
    through_locust.arguments(parser)
    command, *words = words_of(True, LOADS[load], 3.0)
    options = parser.parse_args(words)
    given = {
        through_locust.NAMES.get(name, name).replace("-", "_"): value
        for name in through_locust.FORM
        if (value := getattr(options, name.replace("-", "_"))) is not None
    }
    said = {k: v.split(",") if k == "styles" else [v] for k, v in given.items()}
    (told,) = form.runs(said, form.Offer(options.items or ""), datetime.now()).values()
    plain = planned(words_of(False, LOADS[load], 3.0)[1:])
    assert command == "locust"
    assert planned(told) == plain
    assert len(plain.cells) == 4
    assert {cell.window_s for cell in plain.cells} == {3.0}


def test_cpu_between_readings_has_grown_evenly() -> None:
    readings = [(0, 100), (50 * MS, 300), (100 * MS, 300), (150 * MS, 500)]
    assert used_between(readings, 50 * MS, 150 * MS) == 200
    assert used_between(readings, 25 * MS, 125 * MS) == 200
    assert used_between(readings, 0, 150 * MS) == 400


@pytest.mark.parametrize(("start", "end"), [(0, 100 * MS), (60 * MS, 160 * MS)])
def test_a_window_that_was_not_read_whole_has_no_cpu(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="not read whole"):
        used_between([(50 * MS, 0), (150 * MS, 1)], start, end)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ((1.03, 1.01, 1.02), "within"),
        ((0.97, 0.99, 0.98), "within"),
        ((1.5, 1.6, 1.4), "BEYOND"),
        ((0.6, 0.7, 0.5), "BEYOND"),
    ],
)
def test_a_difference_is_held_against_two_that_are_the_same(
    other: tuple[float, ...], said: str
) -> None:
    """Issue 8: throughput and p50 within the A/A floor, whichever way they differ."""
    base = Line((1.0, 1.0, 1.0))
    assert said in within_floor(base, Line(other), Line((1.05, 0.98, 1.01)))


def test_two_rounds_have_no_floor() -> None:
    two = Line((1.0, 1.1))
    assert "takes 3 rounds" in within_floor(two, two, two)


def run_of(folder: Path, trial: Samples) -> Run:
    """One trial whose generator used 400 ms in its window, and the harness 40."""
    info = {
        "id": "c",
        "style": "rest",
        "load": {"model": "constant", "rate": 1000, "users": None, "words": "1000/s"},
        "condition": {"in_flight": 1024},
        "has_server": True,
    }
    write_samples(folder / "1.parquet", trial)
    marks = [
        {"at": at, "cell": "c", "trial": 1, "role": role, "mark": mark, "cpu_ns": cpu}
        for mark, at, share in (("window_start", WINDOW[0], 0), ("window_end", WINDOW[1], 1))
        for role, cpu in (("generator", share * 400 * MS), ("harness", share * 40 * MS))
    ]
    about = {
        "run": "r",
        "cells": [info],
        "scenario": {"repeats": 1, "timeout_s": 2.0},
        "placement": {"shared": False},
    }
    return Run(folder, about, {"c": [folder / "1.parquet"]}, marks, [])


def test_cpu_is_that_of_the_measured_window_an_answered_operation(tmp_path: Path) -> None:
    """Issue 8: Locust's own process included, from where the harness marked the window."""
    run = run_of(tmp_path, samples(1.5))
    span = WINDOW[1] - WINDOW[0]
    locust = [(WINDOW[0] - span, 0), (WINDOW[1] + span, 12 * MS)]
    (plain,) = seen_in(run, []).values()
    ((name, through),) = seen_in(run, locust).items()
    answered = round(through.per_s * span / 1e9)
    assert name == "rest, 1000/s"
    assert (through.p50_ms, through.closed) == (1.5, False)
    assert plain.cpu_us == {"generator": 400e3 / answered, "harness": 40e3 / answered}
    assert through.cpu_us == {**plain.cpu_us, "locust": pytest.approx(4e3 / answered)}


@pytest.mark.parametrize("word", ["dropped", "timeout"])
def test_what_was_not_answered_is_counted(tmp_path: Path, word: str) -> None:
    (some,) = seen_in(run_of(tmp_path, with_outcome(samples(), word, slice(7))), []).values()
    assert some.unanswered == 7


def test_a_service_that_fails_measures_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="rejected"):
        seen_in(run_of(tmp_path, with_outcome(samples(), "rejected", slice(1))), [])


def seen(cpu: Mapping[str, float], closed: bool) -> list[Seen]:
    return [Seen(1000.0, 0.5, cpu, closed)] * 3


@pytest.mark.parametrize("closed", [True, False])
def test_locust_is_counted_with_what_it_starts(closed: bool) -> None:
    """Issue 8: CPU an operation, Locust's own process included, at most 10 % above."""
    plain = {"generator": 195.0, "harness": 5.0}
    by_side = {
        PLAIN: seen(plain, closed),
        THROUGH: seen({**plain, "locust": 19.0}, closed),
        AGAIN: seen(plain, closed),
    }
    said = "\n".join(report("rest, 64 users", by_side))
    assert "CPU 219.0 µs (generator 195.0, harness 5.0, locust 19.0)" in said
    assert "1.09 (at most 1.1: met)" in said or "1.10 (at most 1.1: met)" in said
    assert ("answers a second" in said) == closed
    dear = {**by_side, THROUGH: seen({**plain, "locust": 21.0}, closed)}
    assert "at most 1.1: MISSED" in "\n".join(report("rest, 64 users", dear))


def test_what_was_not_answered_is_said() -> None:
    by_side = {side: seen({"generator": 200.0}, False) for side in (PLAIN, THROUGH, AGAIN)}
    by_side[AGAIN] = [*by_side[PLAIN][:2], Seen(900.0, 0.5, {"generator": 200.0}, False, 300)]
    said = [line for line in report("rest, 1000/s", by_side) if "not answered" in line]
    assert [line.split()[:2] for line in said] == [["run", "again"]]
    assert said[0].endswith("300 not answered")


def test_cpu_of_some_processes_and_of_all() -> None:
    cell = Seen(1.0, 1.0, {"generator": 100.0, "harness": 10.0, "locust": 1.0})
    assert (cell.cpu("generator"), cell.cpu()) == (100.0, 111.0)
    assert mean_cpu({"a": cell, "b": Seen(1.0, 1.0, {"generator": 89.0})}) == 100.0


async def _turns() -> tuple[list[str], dict[str, list[str]]]:
    order: list[str] = []

    async def take(name: str) -> str:
        order.append(name)
        return name * len(order)

    found = await taken({"a": lambda: take("a"), "b": lambda: take("b")}, 2, len)
    return order, found


def test_rounds_go_forwards_and_backwards() -> None:
    order, found = asyncio.run(_turns())
    assert order == ["a", "b", "b", "a"]
    assert found == {"a": ["a", "aaaa"], "b": ["bb", "bbb"]}
