"""Bad input: every mistake at once, by file and key, with the nearest valid name."""

import json
from pathlib import Path
from typing import Any

import pytest

from clients import catalog
from harness.cli.numeric import number, numbers
from harness.cli.paths import SCENARIOS, scenario_path
from harness.scenario import BadInput, load_scenario
from harness.sections import BurstLoad, ClosedLoad, ReplayLoad

GOOD = """
question = "?"
styles = ["rest"]
[load]
model = "constant"
rate = 100
"""


def problems(text: str, folder: Path, **overrides: Any) -> list[str]:
    """What is said about a scenario, the folder's name taken off."""
    path = folder / "s.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        load_scenario(path, {f"--{k}": v for k, v in overrides.items()})
    return [p.replace(f"{folder}/", "") for p in caught.value.problems]


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    said = problems(
        """
question = "?"
stiles = ["rest"]
styles = ["rest", "grcp-unary"]
repeats = "three"
[load]
model = "constant"
rate = [-5, 100]
[order]
file = "nope.jsonl"
[conection]
in_flight = 16
""",
        tmp_path,
    )
    assert sorted(said) == [
        "s.toml: conection: unknown key; did you mean 'connection'?",
        "s.toml: load.rate[0]: input should be greater than 0, not -5",
        "s.toml: order.file: cannot read nope.jsonl: No such file or directory",
        "s.toml: repeats: input should be a valid integer, not 'three'",
        "s.toml: stiles: unknown key; did you mean 'styles'?",
        (
            "s.toml: styles[1]: unknown style 'grcp-unary';"
            f" styles: {', '.join(catalog.styles())}; did you mean 'grpc-unary'?"
        ),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("model = 'constnat'\nrate = 1", "load: model 'constnat' is not one of"),
        ("rate = 1", "load: model is missing"),
        ("model = 'constant'", "load.rate: is missing"),
        ("model = 'constant'\nrate = 0", "load.rate: input should be greater than 0, not 0"),
        ("model = 'constant'\nrate = inf", "load.rate: input should be"),
        ("model = 'constant'\nrate = true", "load.rate: input should be a valid number"),
        ("model = 'constant'\nrate = []", "load.rate: needs at least one value"),
        ("model = 'closed'\nusers = 1.5", "load.users: input should be a valid integer"),
        ("model = 'closed'\nusers = 2000", "load.users: 2000 users do not fit into"),
        ("model = 'constant'\nrate = 1\nusers = 3", "load.users: unknown key"),
        ("model = 'constant'\nrat = 1", "load.rat: unknown key; did you mean 'rate'?"),
        ("model = 'ramp'\nrates = [1]", "load.rates: needs at least"),
        ("model = 'ramp'\nrates = [0, 1]", "load.rates[0]: input should be greater than 0, not 0"),
        ("model = 'steps'\nrates = [1, 2]", "load.hold_s: is missing"),
        ("model = 'steps'\nrates = 5\nhold_s = 1", "load.rates: input should be a valid list"),
        ("model = 'steps'\nrates = [0, 0]\nhold_s = 1", "load.rates: needs one above 0"),
        ("model = 'replay'", "load.file: is missing"),
        ("model = 'replay'\nfile = 'nope.txt'", "load.file: cannot read"),
        ("model = 'replay'\nfile = 's.toml'", "load.file: "),
    ],
)
def test_a_load_is_checked(tmp_path: Path, line: str, said: str) -> None:
    text = f'question = "?"\nstyles = ["rest"]\n[load]\n{line}\n'
    assert any(said in problem for problem in problems(text, tmp_path))


def test_the_same_key_in_one_of_several_loads_is_told_apart(tmp_path: Path) -> None:
    text = GOOD.replace("[load]", "[[load]]") + "[[load]]\nmodel = 'closed'\nusers = [4, -1]\n"
    assert problems(text, tmp_path) == [
        "s.toml: load[1].users[1]: input should be greater than or equal to 1, not -1"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [("question = ", "is not TOML"), ("", "question: is missing"), ("\ud800", "is not UTF-8")],
)
def test_a_file_that_is_no_scenario(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BadInput, match=said):
        load_scenario(path, {})


@pytest.mark.parametrize(
    ("load", "option", "said"),
    [
        ("model = 'ramp'\nrates = [1, 2]", "--rate", "the scenario's loads have no one rate"),
        ("model = 'ramp'\nrates = [1, 2]", "--users", "the scenario's loads have no one rate"),
        ("model = 'steps'\nrates = [1, 2]\nhold_s = 1", "--duration", "as long as they are"),
    ],
)
def test_an_option_that_a_load_has_no_use_for_is_refused(
    tmp_path: Path, load: str, option: str, said: str
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f'question = "?"\nstyles = ["rest"]\n[load]\n{load}\n')
    with pytest.raises(BadInput, match=f"{option}: .*{said}"):
        load_scenario(path, {option: 5})


def test_a_recording_stands_beside_its_scenario(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("at\n5\n6\n8\n")
    path = tmp_path / "s.toml"
    text = 'question = "?"\nstyles = ["rest"]\n[load]\nmodel = "replay"\nfile = "r.csv"\n'
    path.write_text(text + 'column = "at"\n')
    (load,) = load_scenario(path, {}).load
    assert isinstance(load, ReplayLoad)
    assert load.file == str((tmp_path / "r.csv").resolve())
    path.write_text(text + 'column = "to"\n')
    with pytest.raises(BadInput, match=r"load.file: .*has no column 'to'; it has at"):
        load_scenario(path, {})


def test_a_missing_scenario_names_the_nearest() -> None:
    assert scenario_path("smoke") == SCENARIOS / "smoke.toml"
    with pytest.raises(BadInput, match="did you mean 'smoke'"):
        scenario_path("smok")
    with pytest.raises(BadInput, match="cannot be read"):
        load_scenario(scenario_path("nowhere.toml"), {})


def test_options_are_named_as_options(tmp_path: Path) -> None:
    said = problems(
        GOOD, tmp_path, users=[3], rate=[-1.0], styles=["rast"], items=["x"], duration=0, seed="a"
    )
    assert sorted(p.split(":")[0] for p in said) == [
        "--duration",
        "--items",
        "--rate",
        "--seed",
        "--styles",
        "--users",
    ]
    assert "--users: the scenario has no closed-loop load; use --rate" in said


def test_options_reach_the_loads_that_they_fit(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        GOOD.replace("[load]", "[[load]]") + "[[load]]\nmodel = 'closed'\nusers = [4]\n"
    )
    scenario = load_scenario(path, {"--rate": [7], "--users": [9], "--items": [1, 10]})
    assert scenario.load[0].rate == [7]  # type: ignore[union-attr]
    assert isinstance(scenario.load[1], ClosedLoad)
    assert scenario.load[1].users == [9]
    assert scenario.order.items == [1, 10]


def test_numbers_of_the_command_line() -> None:
    assert numbers("1,2.5,x") == [1, 2.5, "x"]
    assert number("1e3") == 1000.0
    assert number("²") == "²"


def test_labels_tell_two_of_the_same_apart(tmp_path: Path) -> None:
    twice = GOOD.replace('["rest"]', '["rest", "rest:aiohttp"]')
    assert "is there twice; a label tells two apart" in problems(twice, tmp_path)[0]
    path = tmp_path / "s.toml"
    path.write_text(GOOD.replace('["rest"]', '["rest=a", "rest=b"]'))
    assert load_scenario(path, {}).styles == ["rest=a", "rest=b"]


def test_a_file_of_orders_is_looked_for_beside_the_scenario(tmp_path: Path) -> None:
    order = {"customer_id": "c", "items": [{"sku": "s", "quantity": 1, "unit_price_cents": 5}]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(order))
    path = tmp_path / "s.toml"
    path.write_text(GOOD + '[order]\nfile = "mine.jsonl"\n')
    assert load_scenario(path, {}).order.file == str((tmp_path / "mine.jsonl").resolve())
    (tmp_path / "mine.jsonl").write_text("nonsense")
    assert "line 1: not an order" in problems(path.read_text(), tmp_path)[0]


def test_burst_has_its_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(GOOD.replace('"constant"', '"burst"\nburst_size = 5\nevery_s = 0.5'))
    load = load_scenario(path, {}).load[0]
    assert isinstance(load, BurstLoad)
    assert (load.rate, load.burst_size, load.every_s) == ([100], 5, 0.5)


SECTIONS = """
operation = "watch"
[order]
items = 5
attachment_bytes = [0, 1024]
[service]
time = "exponential"
mean_ms = [5, 50.5]
[connection]
kept = [true, false]
[wire]
codec = ["own", "json", "protobuf"]
tls = true
compression = [false, true]
[poll]
policy = "long"
interval_ms = 250
longest_ms = 10000
[watch]
subscribers = [10, 100]
stalled = 1
[gateway]
cuts_idle_s = 1.5
[memory]
remember = ["nothing", "gateway"]
[retry]
attempts = 3
timeout_s = 0.15
"""


def with_sections(text: str) -> str:
    """The good scenario with sections before its load."""
    head, _, load = GOOD.partition("[load]")
    return f"{head}{text}[load]{load}"


def test_every_section_is_read_and_one_value_is_a_list_of_one(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(with_sections(SECTIONS))
    read = load_scenario(path, {})
    assert read.operation == "watch"
    assert (read.order.items, read.order.attachment_bytes) == ([5], [0, 1024])
    assert (read.service.time, read.service.mean_ms) == ("exponential", [5.0, 50.5])
    assert read.connection.kept == [True, False]
    assert read.wire.codec == ["own", "json", "protobuf"]
    assert (read.wire.tls, read.wire.compression) == ([True], [False, True])
    assert (read.poll.policy, read.poll.interval_ms) == (["long"], [250.0])
    assert read.poll.longest_ms == 10_000
    assert (read.watch.subscribers, read.watch.stalled) == ([10, 100], [1])
    assert read.gateway.cuts_idle_s == [1.5]
    assert read.memory.remember == ["nothing", "gateway"]
    assert (read.retry.attempts, read.retry.timeout_s) == (3, 0.15)


def test_what_is_left_unsaid_is_usual(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(GOOD)
    read = load_scenario(path, {})
    assert read.operation == "place"
    assert (read.service.time, read.service.mean_ms) == ("none", [0.0])
    assert (read.wire.codec, read.wire.tls, read.wire.compression) == (["own"], [False], [False])
    assert (read.connection.kept, read.gateway.cuts_idle_s) == ([True], [0.0])
    assert (read.memory.remember, read.retry.attempts) == (["keys"], 1)


def test_mistakes_of_every_section_at_once(tmp_path: Path) -> None:
    said = problems(
        with_sections(
            """
operation = "wacth"
[order]
attachment_bytes = [0, 5000000]
[service]
time = "fixed"
[connection]
kept = [true, false, true]
keppt = true
[wire]
codec = ["own", "msgpack"]
tls = "yes"
compresion = true
[poll]
policy = ["fixed", "sometimes"]
interval_ms = [0.5, 20]
longest_ms = inf
[watch]
subscribers = [0, 6000]
stalled = -1
[gateway]
cuts_idle_s = []
[memory]
remember = "all"
[retry]
attempts = 0
timeout_s = 0
[polls]
policy = "fixed"
[broker]
durability = ["B", "E"]
workers = 0
acks = 1
[ingest]
consume = "never"
[fault]
kill = "all"
"""
        ),
        tmp_path,
    )
    assert all(problem.startswith("s.toml: ") for problem in said)
    keys = sorted(problem.split(": ")[1] for problem in said)
    assert keys == [
        "broker.acks",
        "broker.durability[1]",
        "broker.workers",
        "connection.keppt",
        "connection.kept",
        "fault.at_s",
        "fault.kill",
        "gateway.cuts_idle_s",
        "ingest.consume",
        "memory.remember",
        "operation",
        "order.attachment_bytes[1]",
        "poll.interval_ms[0]",
        "poll.longest_ms",
        "poll.policy[1]",
        "polls",
        "retry.attempts",
        "retry.timeout_s",
        "service.mean_ms",
        "watch.stalled",
        "watch.subscribers[0]",
        "watch.subscribers[1]",
        "wire.codec[1]",
        "wire.compresion",
        "wire.tls",
    ]
    words = {key: problem for problem in said for key in [problem.split(": ")[1]]}
    assert words["operation"].endswith(
        "input should be 'place', 'job', 'watch' or 'ingest', not 'wacth'"
    )
    assert words["connection.keppt"].endswith("unknown key; did you mean 'kept'?")
    assert words["wire.compresion"].endswith("unknown key; did you mean 'compression'?")
    assert words["polls"].endswith("unknown key; did you mean 'poll'?")
    assert "'own', 'json' or 'protobuf', not 'msgpack'" in words["wire.codec[1]"]
    assert "'fixed', 'backoff' or 'long', not 'sometimes'" in words["poll.policy[1]"]
    assert "'requests', 'gateway' or 'redis', not 'all'" in words["memory.remember"]
    assert "less than or equal to 4194304, not 5000000" in words["order.attachment_bytes[1]"]
    assert "less than or equal to 5000, not 6000" in words["watch.subscribers[1]"]
    assert words["gateway.cuts_idle_s"].endswith("needs at least one value")


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ('time = "fixed"', True),
        ('time = "exponential"\nmean_ms = 0', True),
        ('time = "fixed"\nmean_ms = [50, 0]', True),
        ("mean_ms = 50", True),
        ('time = "none"\nmean_ms = [0, 50]', True),
        ('time = "fixed"\nmean_ms = [50, 5]', False),
        ('time = "none"\nmean_ms = 0', False),
        ('time = "none"', False),
    ],
)
def test_work_has_a_length_if_and_only_if_there_is_work(
    tmp_path: Path, lines: str, wrong: bool
) -> None:
    text = f"{GOOD}[service]\n{lines}\n"
    if wrong:
        (said,) = problems(text, tmp_path)
        assert said == (
            's.toml: service.mean_ms: goes together with time = "fixed" or "exponential",'
            " and is above 0"
        )
    else:
        path = tmp_path / "s.toml"
        path.write_text(text)
        load_scenario(path, {})


def test_a_wrong_kind_of_work_is_one_mistake(tmp_path: Path) -> None:
    for length in ("", "mean_ms = 5\n", "mean_ms = 0\n"):
        (said,) = problems(f'{GOOD}[service]\ntime = "fixd"\n{length}', tmp_path)
        assert said.startswith("s.toml: service.time: input should be 'none', 'fixed'")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('late = "5%"', "service.late: goes together with a queue of 1 or more"),
        ('queue = [0, 1]\nlate = ["", "5%"]', "service.late: goes together with a queue of 1"),
        ("stall_ms = 300", "service.stall_ms: goes together with a queue of 1 or more"),
        ('queue = 1\nlate = "soon"', "service.late: 'soon' is none of 100us, 1ms, 5%"),
        ("queue = -1", "service.queue: input should be greater than or equal to 0, not -1"),
        ('queue = [0, 1]\nlate = ""\nstall_ms = [0, 300]', "service.stall_ms: goes together"),
    ],
)
def test_what_is_late_on_purpose_needs_a_queue(tmp_path: Path, lines: str, said: str) -> None:
    (found,) = problems(f"{GOOD}[service]\n{lines}\n", tmp_path)
    assert found.startswith(f"s.toml: {said}")


def test_a_queue_is_an_axis(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f'{GOOD}[service]\nqueue = [1, 4]\nlate = ["", "100us", "5%"]\n')
    service = load_scenario(path, {}).service
    assert (service.queue, service.late, service.stall_ms) == ([1, 4], ["", "100us", "5%"], [0.0])


OWN = """
class Mine:
    async def open(self, target, lanes, sink, wire): ...
    async def drop(self, lane): ...
    async def close(self): ...
    async def place(self, lane, order, call): ...
"""


def test_drivers_of_ones_own_stand_beside_the_styles(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(OWN)
    path = tmp_path / "s.toml"
    path.write_text(GOOD)
    read = load_scenario(path, {"--driver": [f"{mine}:Mine", f"{mine}:Mine=again"]})
    assert read.styles == ["rest", f"{mine}:Mine", f"{mine}:Mine=again"]
    said = problems(GOOD, tmp_path, driver=[f"{mine}:Mine", f"{mine}:Mime"])
    assert said == ["--driver: mine.py has no class 'Mime'; it has: Mine"]
    twice = problems(GOOD, tmp_path, driver=[f"{mine}:Mine", f"{mine}:Mine"])
    assert len(twice) == 1
    assert "is there twice; a label tells two apart" in twice[0]
    in_file = GOOD.replace('["rest"]', f'["rest", "{tmp_path}/nowhere.py:Mine"]')
    (said_of_file,) = problems(in_file, tmp_path)
    assert said_of_file == (
        "s.toml: styles[1]: nowhere.py cannot be read: No such file or directory"
    )


def test_a_thorough_run_takes_what_the_scenario_has_for_it(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(with_sections("[thorough]\nrepeats = 9\n"))
    assert load_scenario(path, {}).repeats != 9
    assert load_scenario(path, {}, thorough=True).repeats == 9
    assert load_scenario(path, {"--repeats": 2}, thorough=True).repeats == 2
    path.write_text(with_sections("[thorough]\nrepeat = 9\n"))
    with pytest.raises(BadInput, match="repeat: unknown key; did you mean 'repeats'"):
        load_scenario(path, {}, thorough=True)
    path.write_text(with_sections(""))
    with pytest.raises(BadInput, match=r"--thorough: the scenario has no table \[thorough\]"):
        load_scenario(path, {}, thorough=True)


def test_nodes_of_brokers_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(with_sections(""))
    scenario = load_scenario(path, {"--kafka-nodes": 3})
    assert (scenario.broker.kafka_nodes, scenario.broker.rabbitmq_nodes) == (3, 1)
    with pytest.raises(BadInput, match="--rabbitmq-nodes: input should be 1 or 3, not 2"):
        load_scenario(path, {"--rabbitmq-nodes": 2})
