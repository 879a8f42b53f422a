"""A gate (issue 6.9): strict rules, what meets them, and what CI reads of it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.analysis.between import Between, Difference, Pair, scenario_of
from harness.analysis.gate import Check, Outcome, all_met, check
from harness.analysis.summary import Summary
from harness.analysis.trial import TrialResult
from harness.analysis.two_runs import TwoRuns, compare
from harness.analysis.verdicts import Code, Reason
from harness.cli.__main__ import main
from harness.gate import Gate, Rule, load_gate
from harness.report.junit import to_junit
from harness.scenario import BadInput
from tests.unit import summaries
from tests.unit.summaries import CLOSED, HOSTILE, OPEN

REST = "place.rest-aiohttp.constant-200.items-3"
SOCKET = "place.websocket-websockets.constant-200.items-3"


def written(folder: Path, text: str) -> Path:
    """A gate's file."""
    path = folder / "gate.toml"
    path.write_text(text)
    return path


def timed(style: str, p99: float, cpu_us: float = 100.0) -> list[TrialResult]:
    """Four quiet trials with this p99 (ms) and CPU of the server an operation."""
    made = []
    for number in (1, 2, 3, 4):
        base = summaries.trial(style, OPEN[0], number)
        scale = 1 + number / 1000
        cpu = {"server": round(cpu_us * scale * 1e3 * base.completed_in_window)}
        latency = replace(base.latency, p50=p99 / 4 * scale, p99=p99 * scale)
        made.append(replace(base, latency=latency, seen=replace(base.seen, cpu_ns=cpu)))
    return made


def run(name: str, rest: float, socket: float = 2.0, reasons: Sequence[Reason] = ()) -> Summary:
    """A run of two styles with these p99."""
    cells = [
        summaries.cell("rest", OPEN[0], trials=timed("rest", rest)),
        summaries.cell("websocket", OPEN[0], reasons, timed("websocket", socket)),
    ]
    return summaries.summary(cells, run=name, started_at=f"at {name}")


def against(base: Summary, other: Summary) -> TwoRuns:
    """Compared on a machine whose runs differ by 5% or so."""
    differences = tuple(
        Difference("sync", "200/s", metric, 0.02)
        for metric in ("p50", "p99", "server_cpu")
        for _ in range(4)
    )
    return compare(base, other, Between((Pair(("x", "y"), scenario_of(base.info), differences),)))


def gate(folder: Path, text: str) -> Gate:
    """The rules of a text."""
    return load_gate(written(folder, text))


def outcomes(checks: Sequence[Check]) -> dict[tuple[str, str], Outcome]:
    """By cell and rule."""
    return {(c.cell, c.rule.where): c.outcome for c in checks}


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
objektive = 3
[[objective]]
cell = "x"
p99_ms = -1
[[objective]]
cells = []
p50_ms = 1
[[objective]]
cells = "*"
[[regression]]
p50 = 0.5
p99_9 = 2
throughput = 1.1
""",
    )
    with pytest.raises(BadInput) as caught:
        load_gate(path)
    said = [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]
    assert sorted(said) == [
        "objective[0].cell: unknown key; did you mean 'cells'?",
        "objective[0].p99_ms: input should be greater than 0, not -1",
        "objective[1].cells: needs at least one value",
        (
            "objective[2]: limits nothing; give one of: p50_ms, p90_ms, p99_ms, p99_9_ms,"
            " throughput_per_s, client_cpu_us, server_cpu_us"
        ),
        "objektive: unknown key; did you mean 'objective'?",
        "regression[0].p50: input should be greater than or equal to 1, not 0.5",
        "regression[0].p99_9: unknown key; did you mean 'p99'?",
        "regression[0].throughput: input should be less than or equal to 1, not 1.1",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "has no rule"), ("[[objective", "is not TOML"), ("[objective]\np99_ms = 1", "list")],
)
def test_what_is_no_gate(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        load_gate(written(tmp_path, text))
    with pytest.raises(BadInput, match="cannot be read"):
        load_gate(tmp_path / "nowhere.toml")


def test_rules_are_for_the_cells_that_their_patterns_fit(tmp_path: Path) -> None:
    rules = gate(
        tmp_path, '[[objective]]\ncells = ["place.rest*", "*kafka*"]\np99_ms = 5\np50_ms = 2.5'
    )
    assert [(r.where, r.limit) for r in rules.objectives] == [
        ("objective[0].p50_ms", 2.5),
        ("objective[0].p99_ms", 5.0),
    ]
    assert rules.objectives[0].matches(REST)
    assert not rules.objectives[0].matches(SOCKET)
    assert not rules.unmatched([REST, SOCKET])
    (problem,) = rules.unmatched([SOCKET])
    assert "objective[0].cells: 'place.rest*', '*kafka*' fits no cell of this run" in problem
    assert SOCKET in problem


def test_objectives(tmp_path: Path) -> None:
    rules = gate(
        tmp_path,
        "[[objective]]\np99_ms = 20\np50_ms = 0.9\nserver_cpu_us = 200\nthroughput_per_s = 190",
    )
    found = outcomes(check(rules, run("b", 2.0, 4.0)))
    assert found[REST, "objective[0].p99_ms"] is Outcome.MET
    assert found[REST, "objective[0].p50_ms"] is Outcome.MET
    assert found[REST, "objective[0].server_cpu_us"] is Outcome.MET
    assert found[REST, "objective[0].throughput_per_s"] is Outcome.MET
    assert found[SOCKET, "objective[0].p50_ms"] is Outcome.NOT_MET
    slow = gate(tmp_path, "[[objective]]\nthroughput_per_s = 201\nclient_cpu_us = 1")
    assert set(outcomes(check(slow, run("b", 2.0))).values()) == {
        Outcome.NOT_MET,
        Outcome.NOT_TOLD,
    }


def test_what_is_not_to_be_trusted_never_passes(tmp_path: Path) -> None:
    rules = gate(tmp_path, "[[objective]]\np99_ms = 1000\n[[regression]]\np99 = 100")
    base = run("a", 2.0)
    late = [Reason(Code.GENERATOR_BOUND, "late")]
    for made in (
        run("b", 2.0, reasons=late),
        run("b", 2.0, math.nan),
        summaries.summary([run("b", 2.0).cells[0], summaries.not_run("websocket", OPEN[0])]),
    ):
        found = check(rules, made, against(base, made))
        assert outcomes(found)[SOCKET, "objective[0].p99_ms"] is Outcome.NOT_TOLD
        assert outcomes(found)[SOCKET, "regression[0].p99"] is Outcome.NOT_TOLD
        assert outcomes(found)[REST, "regression[0].p99"] is Outcome.MET
        assert not all_met(found)
    # Censored is an answer: more than was waited for.
    assert (
        outcomes(check(rules, run("b", 2.0, math.inf)))[SOCKET, "objective[0].p99_ms"]
        is Outcome.NOT_MET
    )
    # A cell that the baseline had and this run has not.
    half = replace(base, cells=base.cells[:1])
    found = check(rules, half, against(base, half))
    assert outcomes(found)[SOCKET, "regression[0].p99"] is Outcome.NOT_TOLD
    # Nothing to compare with, and a rule that is about nothing that was measured.
    assert not all_met(check(rules, base))
    idle = gate(tmp_path, "[[regression]]\nthroughput = 0.9")
    assert not all_met(check(idle, base, against(base, base)))


def test_a_regression_is_one_that_was_found_and_is_larger_than_allowed(tmp_path: Path) -> None:
    rules = gate(tmp_path, "[[regression]]\np99 = 1.2")
    base = run("a", 2.0)

    def outcome(p99: float) -> Outcome:
        other = run("b", p99)
        return outcomes(check(rules, other, against(base, other)))[REST, "regression[0].p99"]

    assert outcome(2.0) is Outcome.MET
    assert outcome(2.08) is Outcome.MET  # within the floor
    assert outcome(2.3) is Outcome.MET  # found, and allowed
    assert outcome(2.5) is Outcome.NOT_MET
    assert outcome(1.0) is Outcome.MET
    twin = summaries.cell("rest=again", OPEN[0], trials=timed("rest", 99.0))
    again = replace(twin, info={**twin.info, "again": True})
    with_twin = replace(base, cells=[*base.cells, again])
    limits = gate(tmp_path, "[[objective]]\np99_ms = 3")
    assert all_met(check(limits, with_twin))


def test_throughput_may_fall_so_far(tmp_path: Path) -> None:
    rules = gate(tmp_path, "[[regression]]\nthroughput = 0.9")

    def closed(name: str, share: float) -> Summary:
        trials = [
            replace(t, completed_in_window=round(4000 * share) + n)
            for n, t in enumerate(summaries.trial("rest", CLOSED, n) for n in (1, 2, 3, 4))
        ]
        cells = [summaries.cell("rest", CLOSED, trials=trials)]
        return summaries.summary(cells, run=name, started_at=f"at {name}")

    base = closed("a", 1.0)
    known = Difference("sync", CLOSED.words, "throughput", 0.005)
    between = Between((Pair(("x", "y"), scenario_of(base.info), (known,) * 4),))

    def met(share: float) -> bool:
        other = closed("b", share)
        return all_met(check(rules, other, compare(base, other, between)))

    assert met(1.1)
    assert met(0.95)
    assert not met(0.85)


GOLDEN = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="orderbench gate, b" tests="3" failures="1" errors="1">
    <testcase classname="place.rest-aiohttp.constant-200.items-3" name="objective[0].p99_ms">
      <system-out>2.005; the limit is at most 3</system-out>
    </testcase>
    <testcase classname="place.websocket-websockets.constant-200.items-3"\
 name="objective[0].p99_ms">
      <failure message="4.01; the limit is at most 3" />
    </testcase>
    <testcase classname="*" name="regression[0].throughput">
      <error message="no cell like this has what the rule is about" />
    </testcase>
  </testsuite>
</testsuites>
"""


def test_junit(tmp_path: Path) -> None:
    rules = gate(tmp_path, "[[objective]]\np99_ms = 3\n[[regression]]\nthroughput = 0.9")
    made = run("b", 2.0, 4.0)
    assert to_junit("b", check(rules, made, against(made, made))) == GOLDEN


def test_junit_holds_whatever_a_user_called_things() -> None:
    rule = Rule("objective[0].p99_ms", ("*",), "p99_ms", 1.0)
    said = f"{HOSTILE} & \x00\x1b \"'\ud800 ]]>"
    text = to_junit(HOSTILE, [Check(HOSTILE, rule, Outcome.NOT_MET, said)])
    (suite,) = ET.fromstring(text)
    assert suite.get("name") == f"orderbench gate, {HOSTILE}"
    (failure,) = suite[0]
    assert failure.get("message") == f"{HOSTILE} & \ufffd\ufffd \"'\ufffd ]]>"


def test_options_that_do_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "[[regression]]\np99 = 1.2\n[[objective]]\ncells = 'x*'\np99_ms = 1")
    out = tmp_path / "out"
    options = ["run", "smoke", "--rate", "-1", "--out", str(out), "--gate", str(path)]
    assert main([*options, "--junit", str(tmp_path / "no" / "j.xml")]) == 2
    said = capsys.readouterr().err
    for words in (
        "--junit: ",
        "has [[regression]] rules; give --baseline RUN",
        "--rate: input should be greater than 0",
    ):
        assert words in said
    assert not out.exists()
    assert main(["run", "smoke", "--junit", "j.xml", "--baseline", "x", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "--junit: only with --gate FILE.toml" in said
    assert "--baseline: only with --gate FILE.toml" in said
    assert "--baseline: x: no run" in said
    path = written(tmp_path, "[[objective]]\ncells = 'plaice.*'\np99_ms = 1")
    assert main(["run", "smoke", "--gate", str(path), "--out", str(out)]) == 2
    assert "'plaice.*' fits no cell of this run" in capsys.readouterr().err
    assert not out.exists()
