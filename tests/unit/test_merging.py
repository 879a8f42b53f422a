"""A trial that several generators have sent is one trial (issue 8.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import results
from harness.analysis.between import scenario_of
from harness.analysis.deliveries import progress_ms
from harness.analysis.ledger import ledger
from harness.analysis.sameness import setting_differences
from harness.analysis.spread import Spread, spread
from harness.analysis.summary import observed
from harness.analysis.trial import summarize_trial
from harness.load.dealing import WHOLE, Share
from harness.merging import Unlike, forget, merge, merged, merged_health
from harness.results import (
    DONE,
    DROPPED,
    Arrivals,
    Samples,
    Sightings,
    generator_places,
    generators_of,
)
from tests.unit import summaries

HEALTH: dict[str, Any] = {
    "cpu_s": 0.5,
    "memory_growth_bytes": 10,
    "loop_lag_us": {"p50": 50.0, "p99": 900.0, "max": 1000.0},
    "pacer": "timerfd",
    "lanes_opened": 2,
    "stray_replies": 1,
    "repeated_sightings": 0,
    "floor_us": None,
    "failure_details": [["disconnected", "gone", 2]],
}
COLUMNS = ("planned", "sent", "acked", "processed", "done", "outcome", "measured", "lane")


def samples(planned: Sequence[int], share: Share = WHOLE, **meta: Any) -> Samples:
    """A part of a trial whose operations all took 10 ns, the first one's window apart."""
    at = np.array(planned, np.int64)
    rows = np.arange(len(at), dtype=np.int64)
    return Samples(
        planned=at,
        sent=at + 1,
        acked=np.zeros(len(at), np.int64),
        processed=at + 5,
        done=at + 10,
        outcome=np.full(len(at), DONE, np.int8),
        measured=np.ones(len(at), np.bool_),
        lane=share.numbers((rows % 2).astype(np.int32)),
        meta={
            "format": results.FORMAT,
            "cell": "c",
            "trial": 1,
            "block": 0,
            "seed": 1,
            "window": [0, 10**6],
            "health": HEALTH,
            "part": share.part,
            "parts": share.parts,
            **meta,
        },
        seq=share.numbers(rows) if share.parts > 1 else None,
    )


def dealt(whole: Samples, parts: int) -> list[Samples]:
    """What several generators would have left of it."""
    return [
        replace(
            whole,
            **{name: getattr(whole, name)[part::parts] for name in COLUMNS},
            notes={name: each[part::parts] for name, each in whole.notes.items()},
            seq=np.arange(part, len(whole), parts, dtype=np.int64),
            meta={**whole.meta, "part": part, "parts": parts},
        )
        for part in range(parts)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.integers(2, 6))
def test_the_parts_of_a_trial_are_the_trial(tmp_path: Path, planned: list[int], parts: int) -> None:
    """Bursts included, whose instants are the same."""
    whole = samples(sorted(planned))
    whole.outcome[::3] = DROPPED
    path = tmp_path / "1.parquet"
    for part, each in enumerate(dealt(whole, parts)):
        results.write_samples(results.part_path(path, part), each)
    merge(path, range(parts))
    read = results.read_samples(path)
    assert read.seq is not None
    assert read.seq.tolist() == list(range(len(whole)))
    for name in COLUMNS:
        assert getattr(read, name).tolist() == getattr(whole, name).tolist(), name
    forget(path, parts)
    assert [each.name for each in tmp_path.iterdir()] == ["1.parquet"]
    path.unlink()


def test_notes_that_only_one_part_has_are_nothing_in_the_others() -> None:
    first, second = dealt(samples([1, 2, 3]), 2)
    both = merged([replace(first, notes={"polls": np.array([4, 5], np.int32)}), second], range(2))
    assert both.notes["polls"].tolist() == [4, 5, 0]
    assert both.notes["polls"].dtype == np.int32


def test_what_is_known_of_the_parts_is_known_of_the_trial() -> None:
    first, second = dealt(samples([1, 2, 3], producer=7, keys=4, acknowledges=True), 2)
    second = replace(second, meta={**second.meta, "producer": 8})
    meta = merged([first, second], range(2)).meta
    assert meta["part"] is None
    assert meta["parts"] == 2
    assert meta["producers"] == [7, 8]
    assert "producer" not in meta
    assert meta["health_of_parts"] == [HEALTH, HEALTH]


def test_health_is_added_up_and_of_lags_the_worst_counts() -> None:
    other = {
        **HEALTH,
        "lanes_opened": 3,
        "loop_lag_us": {"p50": 20.0, "p99": 2000.0, "max": 2500.0},
        "failure_details": [["disconnected", "gone", 1], ["protocol", "what", 5]],
    }
    found = merged_health([HEALTH, other])
    assert found["lanes_opened"] == 5
    assert found["cpu_s"] == 1.0
    assert found["stray_replies"] == 2
    assert found["loop_lag_us"] == {"p50": 50.0, "p99": 2000.0, "max": 2500.0}
    assert found["failure_details"] == [["protocol", "what", 5], ["disconnected", "gone", 3]]
    assert merged_health([{**HEALTH, "loop_lag_us": None}] * 2)["loop_lag_us"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": [5, 10]}, "differ in window"),
        ({"seed": 2}, "differ in seed"),
        ({"part": 0}, "parts \\[0, 0\\] of 2"),
    ],
)
def test_parts_that_are_not_of_one_trial_are_not_put_together(
    change: Mapping[str, Any], said: str
) -> None:
    first, second = dealt(samples([1, 2, 3]), 2)
    with pytest.raises(Unlike, match=said):
        merged([first, replace(second, meta={**second.meta, **change})], range(2))


def test_a_part_that_is_missing_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    results.write_samples(results.part_path(path, 0), dealt(samples([1, 2, 3]), 2)[0])
    with pytest.raises(OSError, match="part-1"):
        merge(path, range(2))
    assert not path.exists()
    forget(path, 2)
    assert list(tmp_path.iterdir()) == []


def test_sightings_and_arrivals_are_put_together_too(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    for part, each in enumerate(dealt(samples([1, 2, 3], producer=7), 2)):
        file = results.part_path(path, part)
        results.write_samples(file, each)
        seen = np.array([30 - part, 50 - part], np.int64)
        operation = np.array([part, part], np.int64)
        lane = np.array([part, part], np.int32)
        results.write_sightings(
            results.sightings_path(file), Sightings(operation, lane, seen - 9, seen)
        )
    results.write_arrivals(
        results.arrivals_path(results.part_path(path, 0)), arrivals([(7, 0, 9), (7, 1, 8)])
    )
    merge(path, range(2))
    sightings = results.read_sightings(results.sightings_path(path))
    assert sightings is not None
    assert sightings.seen.tolist() == [29, 30, 49, 50]
    assert sightings.operation.tolist() == [1, 0, 1, 0]
    rows = results.read_arrivals(results.arrivals_path(path))
    assert rows is not None
    assert rows.sequence.tolist() == [0, 1]


def arrivals(rows: Sequence[tuple[int, int, int]]) -> Arrivals:
    """Rows of (producer, sequence, at), intact, in one partition for each producer."""
    producer, sequence, at = (np.array(each, np.int64) for each in zip(*rows, strict=True))
    place = np.searchsorted(np.unique(producer), producer).astype(np.int32)
    return Arrivals(producer, sequence, at, place, place, np.ones(len(rows), np.bool_))


def closed_loop() -> Samples:
    """Two parts of a closed loop, of which one was slower: 0, 2, 4, 6 and 1, 3."""
    fast = samples([10, 20, 30, 40], Share(0, 2))
    slow = samples([15, 36], Share(1, 2))
    return merged([fast, slow], range(2))


def test_a_closed_loop_keeps_the_numbers_that_its_parts_gave(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    results.write_samples(path, closed_loop())
    read = results.read_samples(path)
    assert read.planned.tolist() == [10, 15, 20, 30, 36, 40]
    assert read.numbers.tolist() == [0, 1, 2, 4, 3, 6]
    assert read.rows(np.array([6, 3, 5, -1, 99])).tolist() == [5, 4, -1, -1, -1]


def test_a_ledger_of_several_producers_goes_by_numbers_not_rows(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    results.write_samples(path, closed_loop())
    read = results.read_samples(path)
    rows = [(7, 0, 50), (8, 1, 51), (7, 2, 52), (7, 4, 54), (8, 3, 53), (7, 6, 55)]
    found = ledger(read, arrivals(rows), [7, 8], 2, False)
    assert found.clean
    assert (found.sent, found.arrived, found.rows) == (6, 6, 6)
    # A message under the stamp of the producer that did not send it.
    crossed = ledger(read, arrivals([*rows, (8, 4, 60)]), [7, 8], 2, False)
    assert (crossed.unexpected, crossed.duplicated) == (1, 0)
    swapped = [(p, {2: 4, 4: 2}.get(n, n), at) for p, n, at in rows]
    assert ledger(read, arrivals(swapped), [7, 8], 2, False).reordered == 1


def test_messages_follow_on_each_other_in_their_own_producer() -> None:
    rows = [(7, 0, 1), (8, 1, 2), (7, 2, 3), (8, 3, 4), (7, 6, 5)]
    assert spread(arrivals(rows), 2) == Spread(2, 2, 0, 2)
    assert spread(arrivals(rows)) == Spread(2, 3, 3, 0)


def test_progress_is_of_an_operation_by_its_number() -> None:
    whole = closed_loop()
    whole.measured[:] = whole.numbers == 6
    seen = Sightings(
        np.array([6, 5], np.int64), np.zeros(2, np.int32), np.zeros(2, np.int64),
        np.array([3_000_000, 9_000_000], np.int64),
    )  # fmt: skip
    assert progress_ms(whole, seen).tolist() == [3.0]


def marks(*used: int) -> list[dict[str, Any]]:
    """Telemetry of generators that used so much CPU time in the window, in ns."""
    return [
        {"role": f"generator.{n}" if n > 1 else "generator", "mark": mark, "cpu_ns": cpu,
         "rss_bytes": 1, "at": 0}
        for n, each in enumerate(used, 1)
        for mark, cpu in (("window_start", 5), ("window_end", 5 + each))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("used", "places", "busiest"),
    [
        ((400, 900), [0, 1], 900),
        ((400, 500), [0, 0], 900),
        ((300, 400, 350), [0, 1, 0], 650),
        ((450, 450, 200), [0, 0, 1], 900),
        ((700,), [0], 700),
    ],
)
def test_a_generator_is_as_busy_as_its_processor(
    used: tuple[int, ...], places: list[int], busiest: int
) -> None:
    """Two that share one are at its limit with half of it each."""
    seen = observed(marks(*used), [], places=places)
    assert seen.busiest_ns == busiest
    assert seen.cpu_ns["generator"] == sum(used)
    trial = summarize_trial(samples([1, 2, 3], window=[0, 1000]), 1, 2.0, seen=seen)
    assert trial.client_busy == pytest.approx(busiest / 1000)


@pytest.mark.parametrize(
    ("placement", "places", "generators"),
    [
        ({"shared": False}, [0], 1),
        ({"generator": [1, 2], "generators": 2, "places": [0, 1]}, [0, 1], 2),
    ],
)
def test_how_many_generators_there_were_is_in_the_placement(
    placement: dict[str, Any], places: list[int], generators: int
) -> None:
    info = {"placement": placement}
    assert generator_places(info) == places
    assert generators_of(info) == generators


def test_runs_of_unlike_numbers_of_generators_are_not_the_same() -> None:
    one = summaries.summary([]).info
    two = {**one, "placement": {**one["placement"], "generators": 2}}
    assert setting_differences(one, two) == ["generators: 1 / 2"]
    assert setting_differences(two, two) == []
    assert scenario_of(one) != scenario_of(two)
    told = {**one, "placement": {**one["placement"], "generators": 1}}
    assert scenario_of(one) == scenario_of(told)
