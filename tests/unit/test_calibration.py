"""Calibration (issue 6.8): its arithmetic on synthetic trials, what it plans, and what is kept."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.analysis import calibration
from harness.analysis.calibration import (
    THEORY,
    Cells,
    Check,
    Probe,
    Timed,
    checks,
    headline,
    services_ns,
    timed,
)
from harness.analysis.queueing import (
    exponential,
    fixed,
    md1_percentile,
    mm1_percentile,
    sample_size,
    sojourns,
)
from harness.calibration import ADDED, MORE, STYLES, parts
from harness.cli.__main__ import main
from harness.load.messages import LoadSpec, OrderSpec
from harness.load.orders import work_times_us
from harness.load.schedule import planned_instants
from harness.machine import CALIBRATION, calibration_of, machine_id, remember, remembered
from harness.report.instrument import ELSEWHERE, UNKNOWN, quoted
from harness.results import DONE, DROPPED, Samples
from harness.rig.awake import awake
from orders.line import NO_WORK_US, STALL_EVERY, Line, latenesses, turn

Floats = npt.NDArray[np.float64]
MS = 1_000_000
FLOOR_MS = 0.4


def samples(planned: Sequence[int], took_ns: Sequence[int], dropped: Sequence[int] = ()) -> Samples:
    """A trial whose operations took so long; the first is warm-up."""
    count = len(planned)
    at = np.array(planned, np.int64)
    outcome = np.full(count, DONE, np.int8)
    outcome[list(dropped)] = DROPPED
    done = np.where(outcome == DONE, at + np.array(took_ns, np.int64), 0)
    measured = np.arange(count) > 0
    zero = np.zeros(count, np.int64)
    return Samples(at, at, zero, zero, done, outcome, measured, np.zeros(count, np.int32), {})


def test_what_is_true_counts_the_warm_up_and_what_was_dropped() -> None:
    """Operation 1 came while the worker had operation 0, of which nothing is measured; number 2
    never arrived, which is for the accounts to say: the plan had it."""
    found = timed(samples([0, MS, 2 * MS], [3 * MS, 6 * MS, 0], [2]), [3000], 0.0)
    assert found.number.tolist() == [1, 2]
    assert found.true.tolist() == [5.0, 7.0]
    assert found.measured.tolist() == [6.0, math.inf]
    assert found.working.all()


def test_who_has_no_work_neither_waits_nor_is_waited_for() -> None:
    """As orders.line.Line has it."""
    planned = [0, MS, 2 * MS, 3 * MS]
    found = timed(samples(planned, [4 * MS] * 4), [3000, NO_WORK_US], 0.0)
    assert found.working.tolist() == [False, True, False]
    assert found.true.tolist() == [0.001, 4.0, 0.001]
    line = Line(1)
    departures = [
        line.departure(at, work) for at, work in zip(planned, [3 * MS, 1000] * 2, strict=True)
    ]
    assert [(d - at) / MS for d, at in zip(departures, planned, strict=True)] == [
        3.0,
        0.001,
        4.0,
        0.001,
    ]


def test_work_is_taken_in_turn_and_a_stall_at_its_place() -> None:
    services = services_ns([2, 3, 4], STALL_EVERY + 1, 300.0)
    assert services[:4].tolist() == [2000, 3000, 4000, 2000]
    assert services[STALL_EVERY - 1] == 300 * MS + 1000 * (2 + (STALL_EVERY - 1) % 3)
    assert services[STALL_EVERY] < MS
    # Of those in line, which are every second one here.
    services = services_ns([2, NO_WORK_US], 2 * STALL_EVERY, 300.0)
    assert np.flatnonzero(services > MS).tolist() == [2 * STALL_EVERY - 2]
    assert services_ns([], 2, 0.0).tolist() == [0, 0]


def seen_of(probe: Probe, seed: int, count: int = 4000, noise_ms: float = 0.05) -> Timed:
    """A trial as an instrument sees it that adds nothing but its floor, and noise."""
    draw = np.random.default_rng(seed)
    arrivals = np.cumsum(draw.exponential(1e3 / probe.rate, count))
    working = np.arange(count) % (probe.between + 1) == 0
    services = probe.mean_ms * calibration.DRAWS[probe.work](draw, count)
    services[np.flatnonzero(working)[STALL_EVERY - 1 :: STALL_EVERY]] += probe.stall_ms
    true = np.full(count, 0.001)
    true[working] = sojourns(arrivals[working], services[working])
    noise = draw.exponential(noise_ms, count) - noise_ms * math.log(2)  # its median
    return Timed(np.arange(count), true + FLOOR_MS + noise, true, working)


def reading(cells: Cells, what: str) -> Check:
    (found,) = [check for check in checks(cells) if check.what.startswith(what)]
    return found


ALTERNATE = Probe("fixed", "rest", 1000.0, "fixed", 1.0, between=1)


@pytest.mark.parametrize(
    ("offset_ms", "met"), [(0.0, True), (0.14, True), (0.2, False), (-0.2, False)]
)
def test_the_error_is_what_is_left_of_floor_and_truth(offset_ms: float, met: bool) -> None:
    """A drift does not count: it is in the floor beside it too."""
    seen = seen_of(ALTERNATE, 3)
    drifting = seen.measured + 0.5 * seen.number / 4000 + offset_ms * seen.working
    check = reading({ALTERNATE: [replace(seen, measured=drifting)]}, "error, fixed 1 ms, 50% load")
    assert check.reading == pytest.approx(offset_ms, abs=0.01)
    assert (check.met, check.operations, check.unit) == (met, 2000, "ms")
    assert check.detail.startswith("p99 ")


def test_an_operation_without_an_answer_has_the_largest_error() -> None:
    seen = seen_of(ALTERNATE, 3)
    seen.measured[seen.working & (seen.number % 5 < 3)] = math.inf
    check = reading({ALTERNATE: [seen]}, "error")
    assert (check.reading, check.met, check.operations) == (math.inf, False, 2000)
    assert check.to_json()["reading"] is None


def test_what_has_no_floor_beside_it_is_not_met() -> None:
    check = reading({ALTERNATE: [seen_of(replace(ALTERNATE, between=0), 3)]}, "error")
    assert (check.reading, check.met) == (math.inf, False)


@pytest.mark.parametrize(("late", "reads"), [("100us", 100.0), ("1ms", 1000.0), ("5%", 5.0)])
def test_what_is_added_is_read_against_those_on_time(late: str, reads: float) -> None:
    """Neither what drifts within the trial nor the floor counts."""
    probe = Probe("added", "rest", 100.0, "fixed", 10.0, 1, late=",".join([ADDED, MORE]))
    kinds = latenesses(probe.late)
    blocks, blind = [], []
    for seed in (0, 1):
        seen = seen_of(probe, seed)
        own = replace(seen, measured=seen.measured + 0.7 * seen.number / 4000)
        later = [
            kinds[turn(number, len(kinds))].later(0, round(true * MS)) / MS - true
            for number, true in enumerate(seen.true.tolist())
        ]
        blocks.append(replace(own, measured=own.measured + np.array(later)))
        blind.append(own)
    check = reading({probe: blocks}, f"{late} added, 50/s")
    assert check.reading == pytest.approx(reads, rel=0.1)
    # A quarter of those with work, in two trials.
    assert check.met
    assert check.operations == pytest.approx(1000, abs=50)
    assert not reading({probe: blind}, f"{late} added").met


def test_a_stall_is_charged_to_all_who_came_meanwhile() -> None:
    probe = replace(ALTERNATE, stall_ms=300.0)
    seen = seen_of(probe, 4)
    seen = replace(seen, measured=seen.measured + 0.05 * seen.working)
    check = reading({probe: [seen]}, "error in a stall of 300 ms")
    assert check.reading == pytest.approx(0.05, abs=0.02)
    assert check.met
    hit = int((seen.true >= 150).sum())
    assert hit > 50
    assert check.operations == hit
    # Whoever waits for an answer before asking again sees it once.
    closed = replace(seen, measured=np.where(seen.true >= 150, FLOOR_MS + 1.0, seen.measured))
    assert not reading({probe: [closed]}, "error in a stall").met


@pytest.mark.parametrize(
    ("work", "name", "law"),
    [("exponential", "M/M/1", mm1_percentile), ("fixed", "M/D/1", md1_percentile)],
)
def test_theory_is_asked_over_all_variants_at_the_size_that_it_needs(
    work: str, name: str, law: Callable[[float, float, float], float]
) -> None:
    count = sample_size(99, 0.7, calibration.DRAWS[work]) // 3
    cells: dict[Probe, list[Timed]] = {}
    for number, variant in enumerate(("rest", "grpc-unary", "websocket")):
        probe = Probe(THEORY, variant, 700.0, work, 1.0)
        # The probe that tells its floor has as much to do, and as many orders without work.
        beside = replace(probe, part=work, rate=1400.0, between=1)
        cells |= {beside: [seen_of(beside, 50)], probe: [seen_of(probe, number, count)]}
    check = reading(cells, f"p99 of {name}, {work} 1 ms, 70% load")
    assert (check.variant, check.operations) == ("all", 3 * count)
    assert "sampling alone ± 10" in check.detail
    # What these draws come to, which is theory's only as far as sampling goes, and the noise.
    true = np.concatenate(
        [t.true for p, trials in cells.items() if p.part == THEORY for t in trials]
    )
    drawn = 100 * (np.percentile(true, 99) / law(99, 0.7, 1.0) - 1)
    assert check.reading == pytest.approx(drawn, abs=1.0)
    longer = {
        probe: [
            replace(t, measured=2 * (t.measured - FLOOR_MS) + FLOOR_MS)
            if probe.part == THEORY
            else t
            for t in trials
        ]
        for probe, trials in cells.items()
    }
    check = reading(longer, f"p99 of {name}")
    assert check.reading == pytest.approx(100 + 2 * drawn, abs=2.0)
    assert not check.met


def test_a_cell_that_failed_is_a_check_that_is_not_met() -> None:
    late = Probe("added", "rest", 100.0, "fixed", 5.0, late="100us")
    stalled = Probe("stall", "rest", 500.0, "fixed", 1.0, stall_ms=300.0)
    found = checks({ALTERNATE: [], late: [], stalled: []})
    assert len(found) == 3
    assert not any(check.met for check in found)
    assert all(check.to_json()["reading"] is None for check in found)
    json.dumps([check.to_json() for check in found], allow_nan=False)
    nothing = headline(found)
    assert (nothing.not_met, nothing.p50_error_ms, nothing.added_100us) == (3, None, None)


def test_the_parts_hold_every_check_and_the_samples_that_theory_needs() -> None:
    asked = parts(STYLES)
    probes = [
        Probe(
            part.name.partition("-")[0],
            cell.variant.name,
            cell.load.rate or 0.0,
            cell.condition.work_time,
            cell.condition.work_mean_ms,
            cell.condition.work_between,
            cell.condition.late,
            cell.condition.stall_ms,
        )
        for part in asked
        for cell in part.plan.cells
    ]
    assert len(set(probes)) == len(probes)
    assert all(c.condition.queue == 1 for part in asked for c in part.plan.cells)
    for style in {probe.variant for probe in probes}:
        own = [probe for probe in probes if probe.variant == style]
        told = [p for p in own if p.between and not p.stall_ms and not p.late]
        plain = {(p.work, p.mean_ms, round(p.load, 6)) for p in told}
        asked_of = {("exponential", 1.0), ("fixed", 1.0), ("fixed", 10.0)}
        assert {(work, ms, load) for work, ms in asked_of for load in (0.5, 0.7)} == plain
        assert {p.late for p in own} == {"", ADDED, MORE}
        assert all(p.rate <= 100 for p in own if p.late == ADDED), "judged at 100/s at most"
        assert {p.stall_ms for p in own} == {0.0, 300.0}
        assert all(p.between for p in own if p.stall_ms)
        for probe in own:
            if probe.part == THEORY:
                assert any(probe.asks_the_same(other) for other in told)
    for work, draws in (("exponential", exponential), ("fixed", fixed)):
        theory = [part.plan for part in asked if part.name.startswith(f"theory-{work}")]
        planned = sum(plan.cells[0].window_s * (plan.cells[0].load.rate or 0) for plan in theory)
        assert planned >= sample_size(99, 0.7, draws)
        assert len({plan.scenario.seed for plan in theory}) == len(theory)


@pytest.mark.parametrize(
    ("work", "law"), [("exponential", mm1_percentile), ("fixed", md1_percentile)]
)
def test_the_draws_that_theory_is_asked_with_are_near_it_themselves(
    work: str, law: Callable[[float, float, float], float]
) -> None:
    drawn = []
    for part in parts(STYLES):
        if not part.name.startswith(f"theory-{work}"):
            continue
        scenario, rate = part.plan.scenario, part.plan.cells[0].load.rate
        load = LoadSpec("poisson", rate, None, 0.0, 0, 0.0)
        length_s = scenario.warm_up_s + scenario.duration_s
        planned = planned_instants(load, length_s, scenario.seed, 0)
        work_us = work_times_us(OrderSpec(work_time=work, work_mean_ms=1.0), scenario.seed, 0)
        drawn.append(sojourns(planned, services_ns(work_us, len(planned), 0.0)) / 1e6)
    p99 = np.percentile(np.concatenate(drawn), 99)
    assert p99 == pytest.approx(law(99, 0.7, 1.0), rel=0.03)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--styles", "rast"], ["--styles: "]),
        (["--styles", "rest,rest"], ["--styles: rest is there twice"]),
        (
            ["--styles", "kafka,noop,rest-poll"],
            ["kafka has no server", "noop has", "rest-poll has"],
        ),
        (["--out", "results/README.md"], ["--out: "]),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *words]) == 2
    shown = capsys.readouterr().err
    assert all(word in shown for word in said)


def test_processors_are_kept_awake_by_a_nought_that_is_held(tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    with awake(device) as had:
        assert (had, device.read_bytes()) == (True, bytes(4))
    with awake(tmp_path / "nowhere" / "cpu_dma_latency") as had:
        assert not had


ENVIRONMENT: dict[str, dict[str, Any]] = {
    "machine": {"architecture": "x86_64", "cpu": "A", "cpus": [0, 1], "memory_bytes": 2**30},
    "kernel": {"system": "Linux", "release": "6.1"},
    "project": {"commit": "0123456789abcdef"},
}


def changed(topic: str, key: str, value: Any) -> dict[str, Any]:
    return {**ENVIRONMENT, topic: {**ENVIRONMENT[topic], key: value}}


def test_a_machine_is_known_by_what_makes_its_figures() -> None:
    known = machine_id(ENVIRONMENT)
    assert known == machine_id(changed("project", "commit", "another"))
    assert known == machine_id({**ENVIRONMENT, "before": {"load": 3}})
    others = [
        changed("machine", "cpu", "B"),
        changed("machine", "cpus", [0]),
        changed("kernel", "release", "6.2"),
    ]
    assert len({known, *map(machine_id, others)}) == 4


def test_what_is_kept_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERBENCH_CACHE", str(tmp_path))
    assert remembered(ENVIRONMENT, "floor") is None
    remember(ENVIRONMENT, "floor", {"p99": 1.03})
    path = remember(ENVIRONMENT, "floor", {"p99": 1.02})
    assert remembered(ENVIRONMENT, "floor") == {"p99": 1.02}
    assert remembered(changed("machine", "cpu", "B"), "floor") is None
    path.write_text("not json")
    assert remembered(ENVIRONMENT, "floor") is None


GOOD = [
    Check("error, fixed 1 ms, 50% load", "rest", -0.034, -0.15, 0.15, "ms", 10, ""),
    Check("error, fixed 1 ms, 70% load", "rest", 0.02, -0.15, 0.15, "ms", 10, ""),
    Check("100us added, 50/s", "rest", 96.2, 70, 130, "µs", 10, ""),
    Check("100us added, 50/s", "websocket", 104.1, 70, 130, "µs", 10, ""),
    Check("p99 of M/M/1, exponential 1 ms, 70% load", "all", -2.9, -10, 10, "%", 10, ""),
]
BAD = Check("error, fixed 10 ms, 50% load", "rest", 0.25, -0.15, 0.15, "ms", 10, "")


def test_later_reports_quote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERBENCH_CACHE", str(tmp_path))
    assert quoted({}) == "", "a run from before there was such a thing"
    assert quoted({"instrument": calibration_of(ENVIRONMENT)}) == UNKNOWN
    for found, said in (
        (GOOD, "p50 of an operation's error at most 0.03 ms"),
        ([*GOOD, BAD], "1 of 6 checks not met, p50 of an operation's error at most 0.25 ms"),
    ):
        kept = {
            "calibrated_at": "2026-11-24T22:00:00+00:00",
            "commit": "0123456789abcdef",
            "headline": asdict(headline(found)),
            "checks": [check.to_json() for check in found],
        }
        remember(ENVIRONMENT, CALIBRATION, kept)
        info = json.loads(json.dumps({"instrument": calibration_of(ENVIRONMENT)}))
        assert "checks" not in info["instrument"], "a run's own file names what it comes to"
        assert quoted(info) == (
            f"calibrated on 2026-11-24 at commit 01234567, {said}, +100 µs reads 96 to 104 µs,"
            " p99 within 3% of queueing theory's"
        )
        assert quoted({**info, "hosts": [{"host": "b"}]}) == ELSEWHERE
