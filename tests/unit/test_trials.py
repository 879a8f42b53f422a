"""Where a run takes its trials from (issue 6.5)."""

from typing import Any

from harness.analysis.trial import TrialResult
from harness.plan import Plan, Trial, make_plan
from harness.scenario import Scenario
from harness.trials import trials_of
from tests.unit.capacity_summaries import HELD, MISSED, half, of_search, probed, result

OBJECTIVE = {"percentile": 99.0, "latency_ms": 20.0}


def plan(**changes: Any) -> Plan:
    """A search over two styles."""
    fields = {
        "question": "?",
        "styles": ["rest", "websocket"],
        "load": {"model": "constant", "rate": 400.0},
        "objective": OBJECTIVE,
        "capacity": {"limit": 6400.0},
    }
    return make_plan(Scenario.model_validate({**fields, **changes}))


def answered(trial: Trial, capacity: dict[str, float]) -> TrialResult:
    """What a service of that capacity makes of a trial."""
    rate = trial.cell.load.rate
    assert rate is not None
    came = HELD if rate <= capacity[trial.cell.variant.style] else MISSED
    return result(trial.cell.variant.style, rate, trial.block + 1, came)


def test_known_trials_come_in_the_order_of_the_plan() -> None:
    known = plan(capacity=None)
    trials = trials_of(known)
    seen = []
    while (trial := trials.next()) is not None:
        seen.append(trial)
        trials.tell(trial, None)
    assert tuple(seen) == known.trials
    assert tuple(trials.cells) == known.cells


def test_a_search_goes_round_all_variants_and_the_report_finds_the_same() -> None:
    searching = plan()
    capacity = {"rest": 2000.0, "websocket": 5000.0}
    trials = trials_of(searching)
    seen: list[Trial] = []
    while (trial := trials.next()) is not None:
        seen.append(trial)
        trials.tell(trial, answered(trial, capacity))
    assert len(seen) <= searching.most_trials
    # In rounds: as long as both are searched for, neither is two trials ahead.
    ahead = 0
    for trial in seen:
        ahead += 1 if trial.cell.variant.style == "rest" else -1
        if abs(ahead) > 1:
            rest = [t for t in seen if t.cell.variant.style == "rest"]
            assert trial.cell.variant.style == "websocket"
            assert seen.index(trial) > seen.index(rest[-1])
    # A rate's trials have numbers of their own, and with them schedules.
    by_cell: dict[str, list[int]] = {}
    for trial in seen:
        by_cell.setdefault(trial.cell.id, []).append(trial.block)
    assert all(blocks == list(range(len(blocks))) for blocks in by_cell.values())
    assert {cell.id for cell in trials.cells} == set(by_cell)
    rates = [cell.load.rate or 0 for cell in trials.cells]
    assert rates == sorted(rates)
    # From the trials alone the report comes to the same answer.
    made = [
        probed(
            cell.variant.style,
            cell.load.rate or 0,
            *[
                HELD if (cell.load.rate or 0) <= capacity[cell.variant.style] else MISSED
                for _ in by_cell[cell.id]
            ],
        )
        for cell in trials.cells
    ]
    for found in of_search(made).capacities:
        most = capacity[found.cell.info["style"]]
        assert found.found.settled
        assert found.found.held is not None
        assert found.found.missed is not None
        assert found.found.held <= most < found.found.missed


def test_the_order_of_a_round_is_the_seeds() -> None:
    def order(seed: int) -> list[str]:
        trials = trials_of(plan(seed=seed, styles=["rest", "websocket", "grpc-unary", "sse"]))
        seen = []
        while (trial := trials.next()) is not None:
            seen.append(trial.cell.id)
            trials.tell(trial, None)
        return seen

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_a_trial_without_samples_has_missed_and_the_search_ends() -> None:
    trials = trials_of(plan(styles=["rest"]))
    seen = []
    while (trial := trials.next()) is not None:
        seen.append(trial.cell.load.rate)
        trials.tell(trial, None)
    assert seen == [400, 400]


def test_a_trial_that_lost_a_worker_does_not_send_the_search_upwards() -> None:
    trials = trials_of(plan(styles=["rest"]))
    seen = []
    while (trial := trials.next()) is not None:
        rate = trial.cell.load.rate or 0
        seen.append((rate, trial.block))
        made = result("rest", rate, trial.block + 1, HELD if rate <= 400 else MISSED)
        # At 800/s all that the other worker sent was answered in time.
        trials.tell(trial, half(result("rest", rate, 1, HELD)) if rate == 800 else made)
    assert max(rate for rate, _ in seen) == 800
    assert [block for rate, block in seen if rate == 800] == [0, 1]


def test_what_a_style_cannot_do_is_not_searched_for() -> None:
    skipping = plan(styles=["rest", "zeromq"], wire={"compression": True})
    trials = trials_of(skipping)
    seen = set()
    while (trial := trials.next()) is not None:
        seen.add(trial.cell.variant.style)
        trials.tell(trial, None)
    assert seen == {"rest"}
    assert [cell.variant.style for cell in trials.cells if cell.skipped] == ["zeromq"]
