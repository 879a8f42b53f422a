"""Issue 7.4: what each number means, and that its thresholds are those of the analysis."""

import pytest

from harness.analysis import agreement, instrument, judgement
from harness.analysis.verdicts import RULES, Code, Status
from harness.report import method
from tests.unit import message_summaries, summaries
from tests.unit.test_page import page_of, text_of

TERMS = (
    "planned",
    "latency",
    "percentile",
    "cpu",
    "bytes",
    "ratio",
    "floor",
    "calibration",
    "verdict",
)
MESSAGE_TERMS = ("ledger", "lost", "duplicated", "recovered")


def test_every_reason_is_said_when_it_is_given() -> None:
    assert set(method.WHEN) == set(Code)
    rows = method.verdict_rules()
    assert {(row.what, row.status, row.remedy) for row in rows} == {
        (code.value.replace("_", " "), status.value, remedy)
        for code, (status, remedy) in RULES.items()
    }
    order = [[*Status].index(Status(row.status)) for row in rows]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (Code.CLIENT_LIMITED, instrument.BUSY),
        (Code.GENERATOR_BOUND, instrument.OWN_SHARE),
        (Code.RATE_NOT_REACHED, instrument.SHORT),
        (Code.RIVAL_BUSY, judgement.RIVAL),
        (Code.UNSTABLE, agreement.FEW),
    ],
)
def test_thresholds_are_those_of_the_analysis(code: Code, number: float) -> None:
    assert f"{100 * number:g} %" in method.WHEN[code]
    assert f"{100 * number:g} %" in page_of(summaries.complete).text


def test_terms_can_be_linked_to() -> None:
    ids = page_of(summaries.complete).all("id")
    assert {f"term.{name}" for name in TERMS} <= set(ids)
    assert not {f"term.{name}" for name in MESSAGE_TERMS} & set(ids)
    ids = page_of(message_summaries.failover).all("id")
    assert {f"term.{name}" for name in (*TERMS, *MESSAGE_TERMS)} <= set(ids)


def test_what_is_not_measured_is_said() -> None:
    text = page_of(summaries.complete).text
    assert "no round trip, no loss and no bandwidth is emulated" in text
    assert "&gt; 2 s</dt>" in text_of(summaries.complete)


def test_of_a_run_with_workers_nothing_is_said_of_one_machine_and_one_clock() -> None:
    alone, away = page_of(summaries.complete).text, page_of(summaries.distributed).text
    assert "which client and server share where they run on one machine" in alone
    for said in (
        "which client and server share",
        "over loopback: no round trip",
        "Client, service",
    ):
        assert said in alone
        assert said not in away
    assert "by the offset that was measured before the trial, and measured again after it" in away
    assert "What lies between the workers and the service is in every figure" in away
