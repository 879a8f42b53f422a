"""From a scenario to cells, trials and their order."""

from pathlib import Path
from typing import Any

import pytest

from clients import catalog
from harness.cli.paths import SCENARIOS
from harness.condition import Condition
from harness.plan import IDLE_S, at_rate, make_plan
from harness.scenario import BadInput, Scenario, load_scenario
from harness.variant import parse_variant

SHIPPED = sorted(SCENARIOS.glob("*.toml"))


def scenario(**changes: Any) -> Scenario:
    """A small scenario, without A/A."""
    fields = {
        "question": "?",
        "noise": False,
        "styles": ["rest", "websocket"],
        "load": [{"model": "constant", "rate": [100, 500]}, {"model": "closed", "users": [4]}],
    }
    return Scenario.model_validate({**fields, **changes})


def test_cells_are_the_product_of_styles_loads_and_items() -> None:
    plan = make_plan(scenario(order={"items": [1, 10]}))
    assert len(plan.cells) == 2 * 3 * 2
    assert plan.cells[0].id == "place.rest-aiohttp.constant-100.items-1"
    assert plan.cells[5].id == "place.rest-aiohttp.closed-4.items-10"
    assert len({c.id for c in plan.cells}) == len(plan.cells)


def test_ids_are_folder_names() -> None:
    burst = {"model": "burst", "rate": [0.5], "burst_size": 9, "every_s": 0.25}
    poisson = {"model": "poisson", "rate": [1e6]}
    thinking = {"model": "closed", "users": [1], "think_s": 0.5}
    plan = make_plan(
        scenario(
            styles=["rest:httpx+fastapi=a.b"],
            load=[burst, poisson, thinking],
            service={"time": "fixed", "mean_ms": 2.5},
        )
    )
    assert [c.id for c in plan.cells] == [
        "place.rest-httpx-a.b.burst-0.5-9-every-0.25.items-3.work-2.5ms",
        "place.rest-httpx-a.b.poisson-1000000.items-3.work-2.5ms",
        "place.rest-httpx-a.b.closed-1-think-0.5.items-3.work-2.5ms",
    ]


def test_a_block_has_every_cell_once_in_an_order_of_its_own() -> None:
    plan = make_plan(scenario(repeats=5))
    size = len(plan.cells)
    blocks = [plan.trials[n * size : (n + 1) * size] for n in range(5)]
    for number, block in enumerate(blocks):
        assert {t.block for t in block} == {number}
        assert {t.cell.id for t in block} == {c.id for c in plan.cells}
    assert len({tuple(t.cell.id for t in block) for block in blocks}) > 1
    assert make_plan(scenario(repeats=5)) == plan
    assert make_plan(scenario(repeats=5, seed=2)).trials != plan.trials


ONE_LOAD = [{"model": "constant", "rate": [100]}]


def test_axes_multiply() -> None:
    axes: dict[str, Any] = {
        "order": {"items": [1, 10], "attachment_bytes": [0, 1024]},
        "service": {"time": "fixed", "mean_ms": [5.0, 50.0]},
        "wire": {"codec": ["own", "protobuf"], "tls": [False, True], "compression": [False, True]},
        "connection": {"kept": [True, False]},
        "gateway": {"cuts_idle_s": [0.0, 1.0]},
        "memory": {"remember": ["keys", "requests"]},
    }
    plan = make_plan(scenario(styles=["rest", "rest:httpx"], load=ONE_LOAD, repeats=1, **axes))
    assert len(plan.cells) == 2 * 2**9
    assert len({cell.id for cell in plan.cells}) == len(plan.cells)
    assert plan.cells[0].id == "place.rest-aiohttp.constant-100.items-1.work-5ms"
    assert plan.cells[-1].id == (
        "place.rest-httpx.constant-100.items-10.attachment-1024.work-50ms.protobuf.tls.compressed"
        ".new-connections.cut-idle-1s.remember-requests"
    )
    # Every style is asked the same.
    by_style: dict[str, list[Condition]] = {}
    for cell in plan.cells:
        by_style.setdefault(cell.variant.name, []).append(cell.condition)
    first, second = by_style.values()
    assert first == second


def test_ways_to_poll_concern_only_styles_that_poll() -> None:
    polls = {"policy": ["fixed", "backoff", "long"], "interval_ms": [20.0, 100.0]}
    plan = make_plan(scenario(styles=["rest", "rest-poll"], load=ONE_LOAD, poll=polls))
    assert [cell.id.split(".", 3)[-1] for cell in plan.cells] == [
        "items-3",
        "items-3.poll-fixed-20ms",
        "items-3.poll-fixed-100ms",
        "items-3.poll-backoff-20ms",
        "items-3.poll-backoff-100ms",
        # An interval does not matter to a poll that is held back.
        "items-3.poll-long-2000ms",
    ]
    assert all(not cell.skipped for cell in plan.cells)


def test_a_brokers_ways_concern_only_styles_that_have_one() -> None:
    broker = {
        "durability": ["B", "C"], "workers": [1, 2], "linger_ms": [0, 5], "replies": "direct"
    }  # fmt: skip
    plan = make_plan(
        scenario(styles=["rest", "kafka", "rabbitmq"], load={"model": "closed", "users": [1]},
                 broker=broker, service={"store": ["memory", "postgres"]})
    )  # fmt: skip
    by_style: dict[str, list[str]] = {}
    for cell in plan.cells:
        by_style.setdefault(cell.variant.style, []).append(cell.id.split("items-3")[1])
    assert by_style["rest"] == ["", ".store-postgres"]
    # RabbitMQ's producers do not linger, and Kafka has no direct replies.
    assert by_style["kafka"] == [
        ".class-b", ".class-b.linger-5ms", ".class-b.workers-2", ".class-b.workers-2.linger-5ms",
        ".class-c", ".class-c.linger-5ms", ".class-c.workers-2", ".class-c.workers-2.linger-5ms",
    ]  # fmt: skip
    assert by_style["rabbitmq"] == [
        ".class-b.replies-direct", ".class-b.workers-2.replies-direct",
        ".class-c.replies-direct", ".class-c.workers-2.replies-direct",
    ]  # fmt: skip
    assert plan.parts == {"kafka": 3, "rabbitmq": 3, "postgres": 1}


def test_an_unsafe_producer_is_a_matter_of_class_b() -> None:
    broker = {"durability": ["A", "B", "D"], "safe": [True, False]}
    plan = make_plan(scenario(styles=["kafka"], load=ONE_LOAD, broker=broker))
    assert [cell.id.split("items-3.")[1] for cell in plan.cells] == [
        "class-a", "class-b", "class-b.unsafe", "class-d",
    ]  # fmt: skip


def test_a_broker_has_the_nodes_that_its_promise_needs() -> None:
    def parts(**changes: Any) -> dict[str, int]:
        return make_plan(scenario(styles=["kafka", "rest"], **changes)).parts

    assert parts() == {"kafka": 1}
    assert parts(broker={"durability": ["A", "D"]}) == {"kafka": 3}
    assert parts(broker={"kafka_nodes": 3, "rabbitmq_nodes": 3}) == {"kafka": 3}
    assert parts(memory={"remember": ["keys", "redis"]}) == {"kafka": 1, "redis": 1}
    assert make_plan(scenario()).parts == {}


def test_starting_brokers_takes_time() -> None:
    alone = make_plan(scenario(styles=["rest"], broker={"warm_up_s": 9.0}))
    beside = make_plan(scenario(styles=["kafka"], broker={"warm_up_s": 9.0}))
    assert beside.seconds >= alone.seconds + 9.0


def test_subscribers_concern_only_watching() -> None:
    watch = {"subscribers": [2, 10], "stalled": [0, 1]}
    with pytest.raises(BadInput, match='watch: only with operation = "watch"'):
        make_plan(scenario(styles=["websocket"], load=ONE_LOAD, watch=watch))
    placed = make_plan(scenario(styles=["websocket"], load=ONE_LOAD))
    assert [(c.condition.subscribers, c.condition.stalled) for c in placed.cells] == [(0, 0)]
    watched = make_plan(
        scenario(styles=["websocket"], load=ONE_LOAD, watch=watch, operation="watch")
    )
    assert [cell.id.split(".", 3)[-1] for cell in watched.cells] == [
        "items-3.subscribers-2",
        "items-3.subscribers-2.stalled-1",
        "items-3.subscribers-10",
        "items-3.subscribers-10.stalled-1",
    ]


@pytest.mark.parametrize(
    ("style", "changes", "reason"),
    [
        ("rest", {"operation": "watch"}, "rest has no way to watch"),
        ("noop", {"operation": "job"}, "noop has no way to job"),
        ("rest", {"operation": "ingest"}, "rest has no way to ingest"),
        (
            "rest",
            {"service": {"store": "postgres"}, "memory": {"remember": "nothing"}},
            "a service that commits its orders does not forget them",
        ),
        ("kafka", {"wire": {"tls": True}}, catalog.find("kafka").lacks["tls"]),
        ("zeromq", {"wire": {"compression": True}}, catalog.find("zeromq").lacks["compression"]),
        (
            "websocket",
            {"memory": {"remember": "gateway"}},
            catalog.find("websocket").lacks["gateway"],
        ),
    ],
)
def test_what_a_style_cannot_do_is_skipped_with_the_reason(
    style: str, changes: dict[str, Any], reason: str
) -> None:
    plan = make_plan(scenario(styles=[style], load=ONE_LOAD, **changes))
    assert [cell.skipped for cell in plan.cells] == [reason]
    assert plan.trials == ()


def test_a_cell_that_is_skipped_leaves_the_others_their_trials() -> None:
    both = {"compression": [False, True]}
    plan = make_plan(
        scenario(
            styles=["rest", "zeromq"],
            load=ONE_LOAD,
            wire=both,
            memory={"remember": "gateway"},
            repeats=2,
        )
    )
    said = {cell.id: cell.skipped for cell in plan.cells}
    assert [bool(why) for why in said.values()] == [False, False, True, True]
    # All reasons, each only where it applies.
    alone, together = list(said.values())[2:]
    lacks = catalog.find("zeromq").lacks
    assert alone == lacks["gateway"]
    assert together == f"{lacks['compression']}; {lacks['gateway']}"
    assert len(plan.trials) == 2 * 2
    assert {trial.cell.variant.style for trial in plan.trials} == {"rest"}
    assert plan.seconds == 4 * plan.trial_seconds + 2 * IDLE_S


def test_a_plan_of_nothing_but_skipped_cells_takes_no_time() -> None:
    plan = make_plan(scenario(styles=["rest"], operation="watch"))
    assert (plan.trials, plan.seconds) == ((), 0)


def test_the_longest_work_is_part_of_a_trials_length() -> None:
    none = make_plan(scenario()).trial_seconds
    working = scenario(service={"time": "fixed", "mean_ms": [50.0, 2000.0]})
    assert make_plan(working).trial_seconds == none + 2


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_scenarios_fit_their_budget(path: Path) -> None:
    plan = make_plan(load_scenario(path, {}))
    assert plan.scenario.budget_s is not None
    assert plan.seconds <= plan.scenario.budget_s


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget_s": 10.0}, "budget_s: the plan comes to"),
        ({"load": [{"model": "constant", "rate": [1e6]}], "duration_s": 100.0}, "more than 50000"),
        ({"load": [{"model": "constant", "rate": [5, 5]}]}, "planned twice"),
        ({"wire": {"codec": ["own", "own"]}}, "planned twice"),
        ({"connection": {"kept": [True, True]}}, "planned twice"),
        ({"ingest": {"keys": 5}}, 'ingest: only with operation = "ingest"'),
        ({"fault": {"kill": "leader", "at_s": 1.0}}, "fault: it is a broker that is killed"),
        (
            {
                "operation": "ingest",
                "styles": ["kafka"],
                "load": {"model": "closed", "users": 1, "think_s": 1.0},
            },
            "think_s: a producer does not think",
        ),
    ],
)
def test_plans_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        make_plan(scenario(**changes))


SEARCHED: dict[str, Any] = {
    "load": {"model": "constant", "rate": 200.0},
    "objective": {"percentile": 99, "latency_ms": 20},
    "capacity": {"limit": 6400.0},
}


def test_a_search_is_planned_as_its_first_trials() -> None:
    plan = make_plan(scenario(**SEARCHED))
    assert [trial.block for trial in plan.trials] == [0, 0]
    assert [cell.load.rate for cell in plan.cells] == [200, 200]
    assert plan.search is not None
    assert plan.search.rates[-1] == 6400
    assert plan.most_trials == 2 * plan.search.most
    assert plan.seconds >= plan.most_trials * plan.trial_seconds
    assert make_plan(scenario()).search is None
    further = at_rate(plan.scenario, plan.cells[0], 417.7)
    assert further.id == "place.rest-aiohttp.constant-417.7.items-3"


def test_a_trial_of_a_search_is_long_enough_for_its_percentile() -> None:
    plan = make_plan(scenario(**{**SEARCHED, "load": {"model": "poisson", "rate": 50.0}}))
    assert plan.scenario.duration_s < plan.cells[0].window_s < 10
    assert at_rate(plan.scenario, plan.cells[0], 5000).window_s == plan.scenario.duration_s


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": None}, "capacity: needs an objective"),
        ({"load": {"model": "closed", "users": 4}}, "capacity: needs one constant or poisson load"),
        ({"load": {"model": "constant", "rate": [1, 2]}}, "capacity: needs one constant"),
        ({"load": {"model": "ramp", "rates": [1, 2]}}, "capacity: needs one constant"),
        ({"capacity": {"limit": 200.0}}, "capacity.limit: the search begins at 200/s"),
        ({"load": {"model": "constant", "rate": 2.0}}, "takes 233 s until the objective's"),
        (
            {
                "styles": ["kafka"],
                "fault": {"kill": "leader", "at_s": 1.0},
            },
            "fault: not in a search for capacity",
        ),
    ],
)
def test_searches_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        make_plan(scenario(**{**SEARCHED, **changes}))


def test_a_load_whose_rate_changes_is_named_and_as_long_as_it_is(tmp_path: Path) -> None:
    recording = tmp_path / "Black Friday.txt"
    recording.write_text("10\n10.5\n12\n")
    loads = [
        {"model": "ramp", "rates": [100, 300, 200]},
        {"model": "steps", "rates": [100, 250.5], "hold_s": 1.5},
        {"model": "replay", "file": str(recording)},
    ]
    plan = make_plan(scenario(styles=["rest"], load=loads))
    found = {cell.load.model: cell for cell in plan.cells if not cell.again}
    assert {cell.id.partition(".rest-aiohttp.")[2] for cell in found.values()} == {
        "ramp-100-300-200.items-3",
        "steps-100-250.5-hold-1.5.items-3",
        "replay-black-friday.items-3",
    }
    assert found["ramp"].load.mean_rate == 225
    assert found["ramp"].window_s == plan.scenario.duration_s
    assert found["steps"].load.mean_rate == 175.25
    assert found["steps"].window_s == 3
    # Three instants in two seconds: one a second, and a second after the last.
    assert (found["replay"].load.mean_rate, found["replay"].window_s) == (1, 3)
    assert found["replay"].load.words == "replay of Black Friday.txt, 1/s on average"


def test_all_that_is_wrong_with_a_plan_is_said_once() -> None:
    watch = {"subscribers": [1, 2], "stalled": [0, 1, 2]}
    with pytest.raises(BadInput) as caught:
        make_plan(scenario(operation="watch", watch=watch, budget_s=1.0))
    *stalled, budget = caught.value.problems
    assert [said.split(" cannot")[0] for said in stalled] == [
        "scenario: watch.stalled: 1 of 1 subscribers",
        "scenario: watch.stalled: 2 of 1 subscribers",
        "scenario: watch.stalled: 2 of 2 subscribers",
    ]
    assert all(said.endswith("more watch.subscribers or fewer stalled") for said in stalled)
    assert budget.startswith("scenario: budget_s: the plan comes to")


@pytest.mark.parametrize(
    ("text", "name", "slug"),
    [
        ("rest", "rest:aiohttp+fastapi", "rest-aiohttp"),
        ("rest:httpx", "rest:httpx+fastapi", "rest-httpx"),
        ("rest:httpx+fastapi=b", "rest:httpx+fastapi=b", "rest-httpx-b"),
        ("noop", "noop:none", "noop-none"),
    ],
)
def test_the_grammar_of_variants(text: str, name: str, slug: str) -> None:
    variant = parse_variant(text)
    assert (variant.name, variant.slug) == (name, slug)


@pytest.mark.parametrize("text", ["", "REST", "rest:", "rest:curl", "rest:httpx+nginx", "soap", 3])
def test_what_is_no_variant(text: Any) -> None:
    with pytest.raises(LookupError):
        parse_variant(text)


def test_the_first_line_of_a_style_stands_for_it() -> None:
    for style in catalog.styles():
        first = next(e for e in catalog.ENTRIES if e.style == style)
        assert catalog.find(style) is first
