"""Which cells may be said to differ, and when the harness keeps silent (issue 6.1, 6.2)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.effects import Effect, Repeat, holm
from harness.analysis.floors import Subject
from harness.analysis.ranking import Comparison, Findings, Word, find, step_levels
from harness.analysis.subjects import subject_of
from tests.unit import summaries

CONDITION = {"asked": ["3 items"], "how": [], "durability": "A"}
EVEN = (1.00, 1.01, 0.99, 1.02, 0.98)
AGAIN = (1.01, 1.00, 1.00, 1.01, 0.99)


def subject(
    variant: str,
    factor: float = 1.0,
    *,
    values: Sequence[float] = EVEN,
    metric: str = "p50",
    family: str = "sync",
    load: str = "200/s",
    verdict: str = "valid",
    again: bool = False,
    label: str = "",
    **condition: Any,
) -> Subject:
    """A cell whose trials are `values` times `factor`."""
    repeats = {block: Repeat(factor * value) for block, value in enumerate(values, 1)}
    return Subject(
        id=f"{variant}{label}.{load}.{condition}",
        variant=variant,
        family=family,
        load=load,
        condition={**CONDITION, **condition},
        verdict=verdict,
        again=again,
        repeats={metric: repeats},
    )


def with_floor(*subjects: Subject, spread: float = 1.0, **changes: Any) -> Findings:
    """The findings of these beside `rest`, which ran against itself."""
    values = [1 + spread * (value - 1) for value in AGAIN]
    rest = subject("rest", **changes)
    return find([rest, *subjects, subject("rest", values=values, again=True, label="2", **changes)])


def only(findings: Findings) -> Comparison:
    """The one comparison there is."""
    (found,) = findings.comparisons
    return found


OTHER = (1.005, 0.995, 1.0, 1.01, 0.99)


@pytest.mark.parametrize(
    ("metric", "factor", "word"),
    [
        ("p50", 1.5, Word.SLOWER),
        ("p50", 0.5, Word.FASTER),
        ("p99", 1.5, Word.SLOWER),
        ("throughput", 1.5, Word.FASTER),
        ("throughput", 0.5, Word.SLOWER),
    ],
)
def test_more_time_is_slower_and_more_answers_are_faster(
    metric: str, factor: float, word: Word
) -> None:
    findings = with_floor(subject("grpc", factor, values=OTHER, metric=metric), metric=metric)
    found = only(findings)
    assert found.word is word
    assert found.effect.ratio == pytest.approx(factor, rel=0.01)
    assert found.why == ""
    assert [floor.metric for floor in findings.floors] == [metric]


def test_what_does_not_clear_its_floor_is_no_difference() -> None:
    """The interval clears 1, and the difference is no more than `rest` shows against itself."""
    slower = subject("grpc", 1.03)
    for spread, word in ((1.0, Word.SLOWER), (8.0, Word.NO_DIFFERENCE)):
        found = only(with_floor(slower, spread=spread))
        assert found.low > 1
        assert found.word is word
        assert (found.low > found.floor) == (word is Word.SLOWER)


def test_the_larger_floor_of_two_families_counts() -> None:
    rest, again = subject("rest"), subject("rest", values=AGAIN, again=True, label="2")
    poll = subject("poll", 1.2, family="async", values=OTHER)
    loud = subject("poll", 1.2, family="async", values=(1.5, 0.7, 1.2, 0.9, 1.1), label="2")
    findings = find([rest, again, poll, replace(loud, again=True)])
    quiet_floor, loud_floor = (floor.ratio for floor in findings.floors)
    assert quiet_floor < 1.2 < loud_floor
    assert only(findings).floor == loud_floor
    assert only(findings).word is Word.NO_DIFFERENCE


def test_without_a_floor_nothing_is_ranked_and_the_words_say_why() -> None:
    rest, other = subject("rest"), subject("grpc", 3.0, values=OTHER)
    alone = only(find([rest, other]))
    assert (alone.word, alone.why) == (Word.NOT_RANKED, "no A/A of the family sync")
    assert alone.effect.low > 2
    assert math.isnan(alone.floor)
    # At another load, or of another family, an A/A pair is none of its own.
    elsewhere = [subject("rest", load="900/s"), subject("rest", load="900/s", label="2")]
    strange = [subject("poll", family="async"), subject("poll", family="async", label="2")]
    found = find([rest, other, *elsewhere, *strange]).comparisons
    assert {c.word for c in found if "900/s" not in c.cells[0]} == {Word.NOT_RANKED}


def test_without_an_interval_nothing_is_ranked() -> None:
    two = [subject(name, factor, values=EVEN[:2]) for name, factor in (("rest", 1), ("grpc", 9))]
    again = subject("rest", values=AGAIN[:2], again=True, label="2")
    findings = find([*two, again])
    few = "2 of the 3 pairs of trials that an interval takes"
    assert only(findings).word is Word.NOT_RANKED
    assert only(findings).why == f"{few}; A/A of the family sync: {few}"
    assert math.isnan(findings.floors[0].ratio)
    # Two repeats tell of noise with one degree of freedom, which asks for very many.
    assert set(findings.repeats_needed) == {"p50"}


def test_a_censored_percentile_is_not_ranked() -> None:
    beyond = subject("grpc", values=(1, 1, math.inf, 1, 1))
    found = only(with_floor(beyond))
    assert (found.word, found.why) == (Word.NOT_RANKED, "censored in 1 of 10 trials")


@pytest.mark.parametrize("verdict", ["invalid", "failed", "skipped"])
def test_what_is_not_usable_is_never_compared(verdict: str) -> None:
    assert not with_floor(subject("grpc", 9.0, verdict=verdict)).comparisons
    spoilt = subject("rest", values=AGAIN, again=True, label="2", verdict=verdict)
    findings = find([subject("rest"), subject("grpc", 9.0, values=OTHER), spoilt])
    (floor,) = findings.floors
    assert floor.effect.reason == f"{spoilt.id} is {verdict}"
    assert floor.noise is None
    assert only(findings).why == f"A/A of the family sync: {spoilt.id} is {verdict}"
    assert findings.repeats_needed == {}


def test_qualified_cells_are_ranked() -> None:
    assert only(with_floor(subject("grpc", 3.0, verdict="qualified"))).word is Word.SLOWER


@pytest.mark.parametrize(
    "apart", [{"durability": "B"}, {"asked": ["100 items"]}, {"load": "500/s"}, {"family": ""}]
)
def test_only_like_is_compared_with_like(apart: dict[str, Any]) -> None:
    assert not with_floor(subject("grpc", 9.0, **apart)).comparisons


def test_ways_of_one_variant_are_compared_and_labels_are_not() -> None:
    other_way = subject("rest", 2.0, values=OTHER, how=["TLS"])
    named = [subject("rest", label=f"={label}") for label in "ab"]
    findings = find([*named, other_way])
    assert [c.cells[1] for c in findings.comparisons] == [other_way.id] * 2
    assert len(findings.floors) == 1


def test_holm_counts_every_pair_of_the_page() -> None:
    """The same pair, alone and among others of which nothing can be said."""
    rng = np.random.default_rng(1)
    close = subject("grpc", 1.06, values=OTHER)
    alone = only(with_floor(close, spread=0.3))
    assert alone.word is Word.SLOWER
    crowd = [
        subject(f"other{n}", values=np.exp(0.3 * rng.normal(size=5)).tolist()) for n in range(12)
    ]
    among = with_floor(close, *crowd, spread=0.3).comparisons
    same = next(c for c in among if c.cells == alone.cells)
    assert same.effect == alone.effect
    assert same.adjusted_p > alone.adjusted_p
    assert same.low < alone.low
    assert same.word is Word.NO_DIFFERENCE


p_values = st.lists(st.floats(0, 1) | st.just(math.nan), max_size=25)


@given(p_values)
def test_an_interval_leaves_1_out_exactly_where_holm_finds_something(p: list[float]) -> None:
    for own, adjusted, level in zip(p, holm(p), step_levels(p), strict=True):
        if math.isnan(own):
            assert level == 0.95
        elif abs(adjusted - 0.05) > 1e-9:
            # An interval of a level leaves 1 out where p is below the rest.
            assert (own <= 1 - level) == (adjusted <= 0.05)


def test_two_in_one_block_design_tell_the_noise_of_a_family() -> None:
    findings = with_floor(subject("grpc", 2.0, values=OTHER), subject("stream", 4.0, values=AGAIN))
    (floor,) = findings.floors
    assert floor.noise is not None
    assert floor.noise.freedom == 3 * 4
    assert floor.repeats_needed is not None
    assert findings.repeats_needed == {"p50": floor.repeats_needed}


def test_json_has_no_number_that_json_does_not_have() -> None:
    made = [summary().findings.to_json() for summary in summaries.ALL]
    text = json.dumps(made, allow_nan=False)
    assert json.loads(text) == made


def test_a_run_with_itself_in_it() -> None:
    made = summaries.against_itself()
    words = {(c.cells, c.metric): c.word for c in made.findings.comparisons}
    ids = {cell.info["variant"].partition(":")[0]: cell.info["id"] for cell in made.cells[:6]}

    def word(first: str, second: str, metric: str = "p50") -> Word | None:
        return words.get(((ids[first], ids[second]), metric))

    assert word("rest", "grpc-unary") is Word.NO_DIFFERENCE
    assert word("rest", "websocket") is Word.FASTER
    assert word("rest", "websocket", "p99") is Word.FASTER
    assert word("rest", "sse") is Word.NOT_RANKED
    assert word("rest", "grpc-stream") is word("rest", "kafka") is None
    assert not any("again" in name for cells, _ in words for name in cells)
    shown = made.to_json()
    assert len(shown["comparisons"]) == len(words)
    assert {floor["family"] for floor in shown["noise_floors"]} == {"sync", "broker"}
    assert shown["repeats_needed"]["ratio"] == 1.1
    assert set(shown["repeats_needed"]["by_metric"]) == {"p50", "p99"}


def test_closed_loops_are_compared_by_their_answers_too() -> None:
    cell = summaries.cell("rest", summaries.CLOSED)
    repeats: Mapping[str, Mapping[int, Repeat]] = subject_of(
        cell.info, cell.trials, cell.verdict
    ).repeats
    assert list(repeats) == ["p50", "p99", "throughput"]
    for trial in cell.trials:
        found = repeats["throughput"][trial.number]
        assert found.value == trial.throughput_per_s
        # All of them were done in the first part of the window.
        assert found.batches.mean() * trial.window_s == pytest.approx(trial.completed_in_window)
    open_loop = summaries.cell("rest", summaries.OPEN[0])
    assert list(subject_of(open_loop.info, open_loop.trials, open_loop.verdict).repeats) == [
        "p50",
        "p99",
    ]


def test_runs_from_before_there_were_families_compare_nothing() -> None:
    cell = summaries.cell("rest", summaries.OPEN[0])
    old = {key: value for key, value in cell.info.items() if key not in ("family", "again")}
    made = subject_of(old, cell.trials, cell.verdict)
    assert (made.family, made.again) == ("", False)
    assert not find([made, replace(made, id="other", variant="grpc")]).comparisons


def test_an_effect_is_as_it_was_told() -> None:
    found = only(with_floor(subject("grpc", 2.0, values=OTHER)))
    assert isinstance(found.effect, Effect)
    assert found.effect.low >= found.low
    assert found.effect.pairs == len(EVEN)
