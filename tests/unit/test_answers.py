"""The first lines of a report: true to the figures, and silent about what cannot carry one."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.analysis.stats import Mean
from harness.analysis.summary import CellResult, Summary
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Code, Reason, Status
from harness.condition import Condition
from harness.plan import LoadPoint
from harness.report.answers import USABLE, answers
from harness.report.findings import finding_words
from harness.report.words import groups, labels
from tests.unit import message_summaries, summaries

RANKING = re.compile(
    r"\b(fast\w*|slow\w*|best|worst|win\w*|los(?:e\w*|ing)|beat\w*|better|worse|cheap\w*|rank\w*|superior"
    r"|outperform\w*|recommend\w*|should)\b",
    re.IGNORECASE,
)
FIGURE = re.compile(r"(-?[\d,]+(?:\.\d+)?) ms(?: \((-?[\d,.]+)–(-?[\d,.]+)\))?")
LATE = Reason(Code.GENERATOR_BOUND, "trial 2: send lag p99 9.1 ms")
DIED = Reason(Code.SERVER_DIED, "trial 1: the server ended with code 1")
ABSENT = Reason(Code.NOT_OFFERED, "rest has no way to watch")


def text(summary: Summary) -> str:
    """All sentences."""
    return "\n".join(answers(summary))


def parsed(text: str) -> float:
    """A figure as it stands in a sentence."""
    return float(text.replace(",", ""))


def said_of(summary: Summary, name: str, sentence: int = 0) -> str:
    """What a sentence says of one cell."""
    _, _, each = answers(summary)[sentence].rpartition(": ")
    (found,) = [part for part in each.removesuffix(".").split("; ") if part.startswith(f"{name} ")]
    return found.removeprefix(f"{name} ")


def as_said(value: float) -> float:
    """A figure as finely as sentences give it."""
    return round(value, 2) if value < 10 else round(value)


def cell_of(
    style: str,
    condition: Condition = summaries.USUAL,
    trials: Sequence[TrialResult] | None = None,
    reasons: Sequence[Reason] = (),
    load: LoadPoint = summaries.OPEN[0],
    **info: Any,
) -> CellResult:
    """A cell at the usual load."""
    return summaries.cell(style, load, reasons, trials, condition, **info)


def changed(cell: CellResult, **changes: Any) -> CellResult:
    """A cell with figures of one's own."""
    return replace(cell, **changes)


ALL = pytest.mark.parametrize("make", [*summaries.ALL, *message_summaries.ALL])


@ALL
def test_no_sentence_ranks_but_those_that_may(make: summaries.Make) -> None:
    made = make()
    allowed = finding_words(made)
    others = [sentence for sentence in answers(made) if sentence not in allowed]
    assert not RANKING.search(" ".join(others))
    if not made.findings.floors:
        assert all(sentence.startswith("Nothing is ranked: ") for sentence in allowed)


@ALL
def test_no_sentence_has_a_gap(make: summaries.Make) -> None:
    for sentence in answers(make()):
        assert not re.search(r"\b(nan|inf|None)\b|: \.|, \.|  ", sentence)
        assert sentence.endswith(".")


def test_half_and_ninety_nine_percent_are_the_cells() -> None:
    made = summaries.complete()
    named = labels(made.cells)
    for sentence, group in zip(answers(made), groups(made), strict=False):
        assert sentence.startswith(f"{group.title}: answered within: ")
        each = sentence.removeprefix(f"{group.title}: answered within: ").split("; ")
        for part, cell in zip(each, group.cells, strict=True):
            assert part.startswith(f"{named[cell.info['id']]} ")
            (half, *half_range), (most, *most_range) = FIGURE.findall(part)
            assert parsed(half) == as_said(cell.latency.p50)
            assert parsed(most) == as_said(cell.latency.p99)
            for mark, told in (("p50", half_range), ("p99", most_range)):
                of_trials = [getattr(trial.latency, mark) for trial in cell.trials]
                assert [parsed(end) for end in told] == [
                    as_said(min(of_trials)), as_said(max(of_trials)),
                ]  # fmt: skip


@ALL
def test_every_figure_lies_in_the_range_that_stands_beside_it(make: summaries.Make) -> None:
    ranges = [found for found in FIGURE.findall(text(make())) if found[1]]
    for value, low, high in ranges:
        assert parsed(low) <= parsed(value) <= parsed(high)


def test_ranges_that_differ_are_not_rounded_into_one() -> None:
    base = summaries.trial("rest", summaries.OPEN[0])
    trials = [
        replace(base, latency=replace(base.latency, p50=p50, p99=p99))
        for p50, p99 in ((0.46, 11.2), (0.47, 12.0), (0.49, 9.5))
    ]
    said = said_of(summaries.summary([cell_of("rest", trials=trials)]), "rest")
    assert said == "0.47 ms (0.46–0.49) for half, 11 ms (9.50–12) for 99 %"


def test_ranges_are_explained_and_one_trial_has_none() -> None:
    several = answers(summaries.complete())[-1]
    assert several.startswith("In round brackets the range over 3 trials, in square brackets")
    alone = cell_of("rest", trials=[summaries.trial("rest", summaries.OPEN[0])])
    said = answers(summaries.summary([alone]))
    assert "(" not in said[0]
    assert said[-1] == "Each figure is from one trial; with more --repeats their range is shown."


def test_what_was_not_answered_is_a_bound_and_not_a_number() -> None:
    made = summaries.censored()
    assert said_of(made, "grpc-unary") == "more than 2 s for half, more than 2 s for 99 %"
    assert said_of(made, "rest").endswith("more than 2 s for 99 %")


def test_what_is_not_resolvable_is_left_out() -> None:
    said = answers(summaries.not_resolvable())[0]
    assert "99 %" not in said
    assert "websocket" not in said
    nothing = [summaries.trial("rest", summaries.OPEN[0], n, planned=1) for n in (1, 2, 3)]
    assert answers(summaries.summary([cell_of("rest", trials=nothing)])) == [
        "No cell of this run can carry an answer; the verdicts below say why."
    ]


@pytest.mark.parametrize(
    ("make", "left_out"),
    [
        (summaries.failed_style, "grpc-unary (failed); websocket (failed)"),
        (summaries.invalid, "grpc-stream (invalid)"),
        (summaries.partial, "websocket (skipped)"),
    ],
)
def test_cells_that_cannot_be_used_are_named_and_their_figures_are_not(
    make: summaries.Make, left_out: str
) -> None:
    made = make()
    said = answers(made)
    assert f"Not used here: {left_out}." in said
    others = "\n".join(sentence for sentence in said if not sentence.startswith("Not used"))
    names = labels(made.cells)
    for cell in made.cells:
        if cell.verdict.status not in USABLE:
            assert names[cell.info["id"]] not in others
            if math.isfinite(cell.latency.p50):
                assert f"{cell.latency.p50:.2f} ms" not in others


def test_a_run_of_nothing_but_failures_gives_no_figure() -> None:
    made = summaries.summary(
        [cell_of("rest", reasons=[DIED], trials=[]), cell_of("sse", reasons=[LATE])]
    )
    assert answers(made) == ["No cell of this run can carry an answer; the verdicts below say why."]


def test_a_cell_that_is_left_out_at_one_load_is_named_with_it() -> None:
    made = summaries.summary(
        [
            cell_of("rest"),
            cell_of("rest", reasons=[LATE], load=summaries.OPEN[1]),
            cell_of("sse", reasons=[DIED], trials=[]),
            cell_of("sse", reasons=[DIED], trials=[], load=summaries.OPEN[1]),
        ]
    )
    assert answers(made)[-2] == "Not used here: sse (failed); rest at 1000/s (invalid)."


def test_after_work_the_delay_of_the_result_is_told_with_its_interval() -> None:
    made = summaries.asynchronous()
    named = labels(made.cells)
    what = "mean time from the end of the work to the result in the client's hand"
    assert answers(made)[0].startswith(f"200/s, {what}: ")
    for cell in made.cells:
        assert cell.excess is not None
        value, low, high = re.findall(r"-?[\d.,]*\d", said_of(made, named[cell.info["id"]]))
        assert parsed(value) == as_said(cell.excess.value)
        assert parsed(low) == as_said(cell.excess.low)
        assert parsed(high) == as_said(cell.excess.high)


def test_polls_and_the_price_are_those_of_the_cells() -> None:
    made = summaries.asynchronous()
    polling, price = answers(made)[1:3]
    assert polling == (
        "Polling: rest-poll, every 20 ms 3.00 polls an order, 67% of them empty;"
        " rest-poll, long polls 1.00 polls an order, 0% of them empty."
    )
    assert price.startswith("Price of an order: ")
    for cell, style in zip(made.cells, ("rest", "rest-poll", "rest-poll", "sse"), strict=True):
        cpu = 90 + summaries.SERVER_US[style]
        assert cell.bytes_per_op is not None
        bytes_of = sum(cell.bytes_per_op)
        said = said_of(made, labels(made.cells)[cell.info["id"]], 2)
        assert said == f"{cpu:.0f} µs of CPU and {bytes_of:,.0f} bytes"


def test_a_result_whose_work_was_not_told_has_no_delay() -> None:
    base = summaries.asynchronous().cells
    silent = [changed(cell, excess=None) for cell in base]
    assert "end of the work" not in text(summaries.summary(silent))
    one = [changed(base[0], excess=None), *base[1:]]
    assert "rest 0" not in answers(summaries.summary(one))[0]
    unsure = changed(base[0], excess=Mean(0.4, math.nan, math.nan, 9))
    assert said_of(summaries.summary([unsure]), "rest") == "0.40 ms"


def test_a_price_that_was_not_seen_is_not_told() -> None:
    foreign = changed(
        summaries.asynchronous().cells[0],
        cpu_us_per_op={"generator": 90.0, "server": None, "gateway": None},
        bytes_per_op=None,
    )
    assert "Price" not in text(summaries.summary([foreign]))


def test_a_gateway_is_part_of_the_price() -> None:
    condition = replace(summaries.USUAL, work_time="fixed", work_mean_ms=50.0, remember="gateway")
    cpu = {"generator": 100.0, "server": 200.0, "gateway": 300.0}
    cell = changed(cell_of("rest", condition), cpu_us_per_op=cpu)
    assert "rest 600 µs of CPU" in text(summaries.summary([cell]))


def ways(*told: tuple[Condition, float]) -> Summary:
    """One style done in several ways, each with the median in ms of its three trials."""
    base = summaries.trial("rest", summaries.OPEN[0])
    return summaries.summary(
        [
            cell_of(
                "rest",
                condition,
                [replace(base, latency=replace(base.latency, p50=p50 * by)) for by in SPREAD],
            )
            for condition, p50 in told
        ]
    )


SPREAD = (0.9, 1.0, 1.1)
OWN = summaries.USUAL
TLS = replace(OWN, tls=True)
FRESH = replace(OWN, tls=True, kept=False)


def test_ways_stand_beside_the_first_of_their_style() -> None:
    made = ways((OWN, 1.0), (TLS, 2.0), (FRESH, 4.0))
    half, *_ = answers(made)
    assert half == (
        "200/s, half answered within: rest 1.00 ms (0.90–1.10), 240 µs of CPU;"
        " with TLS 2.00 ms (1.80–2.20), 2.00 times as much, 240 µs of CPU, 1.00 times as much;"
        " with TLS and new connections 4.00 ms (3.60–4.40), 4.00 times as much,"
        " 240 µs of CPU, 1.00 times as much."
    )


def test_ways_whose_ranges_overlap_are_no_multiple_of_each_other() -> None:
    made = ways((OWN, 1.0), (TLS, 1.1))
    assert "with TLS 1.10 ms (0.99–1.21), 240" in answers(made)[0]


def test_a_way_that_leaves_something_out_says_so() -> None:
    made = ways((FRESH, 4.0), (OWN, 1.0), (TLS, 2.0))
    said = answers(made)[0]
    assert "rest, TLS, new connections 4.00 ms" in said
    assert "without TLS and new connections 1.00 ms" in said
    assert "without new connections 2.00 ms" in said


@pytest.mark.parametrize("late", [0, 1])
def test_a_way_that_did_not_answer_has_no_multiple(late: int) -> None:
    p50s = [1.0, 1.0]
    p50s[late] = math.inf
    made = ways((OWN, p50s[0]), (TLS, p50s[1]))
    said = answers(made)[0]
    assert "more than 2 s, 240 µs" in said
    assert "1.00 ms (0.90–1.10), 240 µs" in said
    assert not re.search(r"nan|inf\b", said)


def test_what_was_counted_of_one_way_alone_is_no_multiple() -> None:
    cells = ways((OWN, 1.0), (TLS, 2.0)).cells
    first = changed(cells[0], bytes_per_op=(100.0, 200.0))
    unseen = {"generator": 90.0, "server": None, "gateway": None}
    second = changed(cells[1], bytes_per_op=(300.0, 600.0), cpu_us_per_op=unseen)
    said = answers(summaries.summary([first, second]))[0]
    assert "240 µs of CPU, 300 bytes; with TLS" in said
    assert said.endswith(", 2.00 times as much, 900 bytes, 3.00 times as much.")


def test_how_often_work_was_done_is_told_where_calls_were_made_again() -> None:
    forgets = replace(summaries.USUAL, work_time="fixed", work_mean_ms=50.0, remember="nothing")
    cells = [
        changed(cell_of("rest", forgets, attempts=3), worked_per_order=1.276),
        changed(
            cell_of("rest", replace(forgets, remember="requests"), attempts=3), worked_per_order=1.0
        ),
        cell_of("rest", replace(forgets, remember="gateway"), attempts=3),
    ]
    assert (
        "The work of an order was done: rest, forgets 1.28 times; rest, remembers 1.00 times;"
        " rest, gateway remembers not told."
    ) in answers(summaries.summary(cells))
    once = [cell_of("rest", forgets), cell_of("rest", replace(forgets, remember="keys"))]
    assert "The work of an order" not in text(summaries.summary(once))


def test_the_last_subscriber_is_told_with_the_floor_beside_it() -> None:
    made = summaries.watch()
    named = labels(made.cells)
    for sentence, group in zip(answers(made), groups(made), strict=False):
        assert sentence.startswith(f"{group.title}, time until the last subscriber knew: ")
        assert sentence.endswith(" A bare loop needs 0.04 ms to receive as many.")
        for cell in group.cells:
            assert cell.watched is not None
            (found,) = re.findall(rf"{named[cell.info['id']]} ([^;]*)", sentence)
            value, low, high = FIGURE.findall(found)[0]
            assert parsed(value) == as_said(cell.watched.last.p50)
            of_trials = [trial.watched.last.p50 for trial in cell.trials if trial.watched]
            assert [parsed(low), parsed(high)] == [as_said(min(of_trials)), as_said(max(of_trials))]


def test_a_subscribers_share_is_told_where_there_are_many() -> None:
    one, many, stalled = answers(summaries.watch())[:3]
    assert "memory" not in one
    assert "a delivery" not in one
    assert "300 bytes a delivery, 8 KiB of the server's memory a subscriber" in many
    assert f"{(90 + 240) / 200:.1f} µs of CPU" in many
    assert "the server grew" not in many
    assert "1 of them stalled" in stalled
    assert stalled.count("the server grew by 3.0 MiB") == 2


def test_a_change_that_not_all_saw_has_no_last() -> None:
    base = summaries.watch().cells[0]
    assert base.watched is not None
    beyond = replace(base.watched.last, p50=math.inf)
    unseen = changed(base, watched=replace(base.watched, last=beyond))
    assert said_of(summaries.summary([unseen]), "websocket").startswith(
        "not all within the timeout"
    )
    unclear = changed(
        base, watched=replace(base.watched, last=replace(base.watched.last, p50=math.nan))
    )
    assert "knew" not in text(summaries.summary([unclear]))


def test_a_job_that_was_lost_behind_a_gateway_is_said_to_be() -> None:
    through, direct, *_ = answers(summaries.jobs())
    assert through == (
        "200/s, through a gateway that cuts after 1 s idle:"
        " every job was answered by sse."
        " Not every one by rest (0 of 120)."
    )
    assert direct.startswith("200/s: rest held 17 connections, told no progress,")
    assert "sse held 8 connections, progress was 1.00 ms old when seen" in direct
    assert direct.endswith("330 µs of CPU and 1,600 bytes a job.")


def condition_of(cell: CellResult) -> dict[str, Any]:
    """The condition of a cell as it was made."""
    return {k: v for k, v in cell.info["condition"].items() if k in Condition.__dataclass_fields__}


def test_a_single_lost_job_is_a_lost_job() -> None:
    cells = summaries.jobs().cells
    one = [summaries.trial("sse", summaries.OPEN[0], n, planned=40, failed=n % 2) for n in (1, 2)]
    lost = cell_of(
        "sse", Condition(**condition_of(cells[3])), one, cells[1].verdict.reasons, operation="job"
    )
    said = answers(summaries.summary([*cells[:3], lost]))[0]
    assert "every job" not in said
    assert "not every one by rest (0 of 120); sse (79 of 80)." in said


def test_gateways_of_different_patience_are_kept_apart() -> None:
    worked = replace(summaries.USUAL, work_time="fixed", work_mean_ms=2000.0)
    cut = [summaries.trial("rest", summaries.OPEN[0], 1, planned=40, failed=40)]
    cells = [
        cell_of("rest", replace(worked, cut_idle_s=1.0), cut, operation="job"),
        cell_of("rest", replace(worked, cut_idle_s=5.0), operation="job"),
    ]
    said = answers(summaries.summary(cells))
    through = "200/s, through a gateway that cuts after"
    assert said[:2] == [
        f"{through} 1 s idle: not every one by rest (0 of 40).",
        f"{through} 5 s idle: every job was answered by rest.",
    ]


def test_jobs_without_a_gateway_do_not_speak_of_one() -> None:
    cells = [summaries.jobs().cells[n] for n in (0, 2)]
    said = text(summaries.summary(cells))
    assert "gateway" not in said
    assert said.startswith("200/s: rest held 17 connections")


def test_a_broken_job_that_is_invalid_carries_no_count() -> None:
    cells = list(summaries.jobs().cells)
    cells[1] = cell_of(
        "rest", Condition(**condition_of(cells[1])), cells[1].trials, [LATE], operation="job"
    )
    assert cells[1].verdict.status is Status.INVALID
    said = text(summaries.summary(cells))
    assert "of 120" not in said
    assert re.search(r"Not used here: rest.*\(invalid\)", said)


def test_styles_that_have_no_way_are_named_as_skipped() -> None:
    cells = [*summaries.watch().cells, cell_of("rest", OWN, [], [ABSENT], operation="watch")]
    assert "Not used here: rest (skipped)." in answers(summaries.summary(cells))
