"""`--resume` and `--interleave` (issue 6.9), as far as no process is needed: what counts as
finished, what hinders, and where another revision comes from."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import results
from harness.cli.__main__ import main
from harness.cli.interleaving import side_folders, sides_of
from harness.cli.paths import SCENARIOS
from harness.journal import Journal
from harness.plan import Plan, Trial, make_plan
from harness.record import CUT_SHORT, Record, being_written, finished_trials
from harness.results import open_run
from harness.rig import tree
from harness.rig.placement import this_machine
from harness.rig.tree import OWN, NoSuchTree, Tree, commit_of, unpacked
from harness.run import Side, _run_infos
from harness.scenario import BadInput, load_scenario, resolved_scenario
from harness.trials import KnownTrials

SMALL = """
question = "?"
styles = ["rest", "websocket"]
repeats = 2
noise = false
[load]
model = "constant"
rate = 100
"""


def planned(folder: Path, text: str = SMALL) -> Plan:
    """A plan of two cells, two trials each."""
    path = folder / "s.toml"
    path.write_text(text)
    return make_plan(load_scenario(path, {}))


def begun(folder: Path, plan: Plan, targets: dict[str, str] | None = None) -> Record:
    """A run's record as the run would begin it."""
    folder.mkdir()
    (info,) = _run_infos(
        plan, [Side(folder)], targets or {}, ["python3", "bench.py", "run"], this_machine()
    )
    return Record(folder, info, Journal(folder))


def finish(record: Record, trial: Trial) -> None:
    """Leave what a finished trial leaves, its samples empty."""
    record.journal.event("trial_started", "1", trial)
    record.journal.of(trial).sample({"server": os.getpid()}, "window_start")
    path = results.trial_path(record.folder, trial.cell.id, trial.block + 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def interrupted(folder: Path, plan: Plan) -> None:
    """A run that finished its first trial, failed in its second and was cut short in its third."""
    first, second, third, _ = plan.trials
    with begun(folder, plan) as record:
        finish(record, first)
        record.journal.event("trial_started", "2", second)
        record.journal.event("trial_failed", "no", second)
        record.journal.event("server_ready", "there", third)
        record.journal.event("trial_started", "3", third)
        record.journal.of(third).sample({"server": os.getpid()}, "window_start")
        record.journal.event("unavailable", "no broker", plan.trials[3])


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda p: p.stem)
def test_every_scenario_comes_back_from_run_json(path: Path) -> None:
    scenario = load_scenario(path, {})
    kept = json.loads(json.dumps(scenario.model_dump(mode="json")))
    again = resolved_scenario(kept)
    assert again == scenario
    assert make_plan(again) == make_plan(scenario)


def test_a_scenario_that_this_program_does_not_have() -> None:
    with pytest.raises(BadInput, match="repeats: input should be a valid integer"):
        resolved_scenario({"question": "?", "styles": ["rest"], "repeats": "x", "load": []})


def test_what_is_finished_and_what_was_cut_short(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path), tmp_path / "run"
    interrupted(folder, plan)
    assert json.loads((folder / "run.json").read_text())["status"] == "partial"
    first, second, third, fourth = plan.trials
    # Samples of which the harness kept nothing that it saw: the trial is run again.
    unseen = results.trial_path(folder, fourth.cell.id, fourth.block + 1)
    unseen.parent.mkdir(parents=True, exist_ok=True)
    unseen.touch()
    assert finished_trials(open_run(folder)) == {(t.cell.id, t.block + 1) for t in (first, second)}
    with Record.resumed(folder, {"at": "now"}) as record:
        assert [record.has(t) for t in plan.trials] == [True, True, False, False]
        assert json.loads((folder / "run.json").read_text())["status"] == "running"
        finish(record, third)
        finish(record, fourth)
        record.complete()
    run = open_run(folder)
    assert run.info["status"] == "complete"
    assert run.info["resumed"] == [{"at": "now"}]
    assert len(finished_trials(run)) == len(plan.trials)
    told = [event["detail"] for event in run.events if event["kind"] == CUT_SHORT]
    where = f"{third.cell.id}, trial {third.block + 1}: "
    assert told[:2] == [f"{where}server_ready there", f"{where}trial_started 3"]
    assert "unavailable no broker" in told[2]
    # Nothing that was seen is lost, and nothing of the attempt is taken for the trial's.
    assert len(run.telemetry) == 4
    of_third = [
        r for r in run.telemetry if (r["cell"], r["trial"]) == (third.cell.id, third.block + 1)
    ]
    assert len(of_third) == 1
    kinds = [
        e["kind"]
        for e in run.events
        if e["cell"] == third.cell.id and e["trial"] == third.block + 1
    ]
    assert kinds == ["trial_started"]


def test_a_run_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path), tmp_path / "run"
    with begun(folder, plan):
        assert being_written(folder)
        with pytest.raises(BlockingIOError):
            Record.resumed(folder, {})
    assert not being_written(folder)


def test_a_record_that_ends_badly_is_partial(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path), tmp_path / "run"
    with pytest.raises(KeyError), begun(folder, plan):
        raise KeyError
    assert json.loads((folder / "run.json").read_text())["status"] == "partial"


def resume(folder: Path, *words: str) -> int:
    """The exit code of `run --resume`."""
    return main(["run", "--resume", str(folder), *words])


def test_what_hinders_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, folder = planned(tmp_path), tmp_path / "run"
    interrupted(folder, plan)
    info = json.loads((folder / "run.json").read_text())
    info["environment"]["kernel"]["release"] = "1.0"
    info["environment"]["libraries"]["aiohttp"] = "0.1"
    info["environment"]["project"]["commit"] = "another"
    info["placement"]["server"] = [7]
    info["scenario"]["repeats"] = "many"
    results.write_json(folder / "run.json", info)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert resume(folder, "--rate", "5", "--styles", "rest", "smoke", "--thorough") == 2
    said = capsys.readouterr().err
    for words in (
        "--rate: the run that goes on has its own; take it out",
        "--styles: the run",
        "--thorough: the run",
        "smoke: the run",
        "kernel.release: 1.0 / ",
        "aiohttp: 0.1 / ",
        "commit: another / ",
        "processors of server: [7] / ",
        "repeats: input should be a valid integer",
    ):
        assert words in said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert resume(tmp_path / "nowhere") == 2
    assert "no run (there is no run.json in it)" in capsys.readouterr().err


def test_a_complete_run_and_one_of_two_revisions_and_other_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, folder = planned(tmp_path), tmp_path / "run"
    with begun(folder, plan) as record:
        record.note(interleaved={"id": "x", "revision": "HEAD"})
        record.note(cells=[])
        record.complete()
    assert resume(folder) == 2
    said = capsys.readouterr().err
    assert "is complete; there is nothing left to run" in said
    assert "two revisions took turns in it; run it again with --interleave" in said
    assert "this version plans other cells" in said


def test_a_service_by_address_must_be_given_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """run.json has it without its secrets."""
    plan, folder = planned(tmp_path), tmp_path / "run"
    with begun(folder, plan, {"rest": "http://me:secret@127.0.0.1:9"}):
        pass
    assert resume(folder, "--target", "rest=http://127.0.0.1:9") == 2
    said = capsys.readouterr().err
    assert "rest at: http://***@127.0.0.1:9 / http://127.0.0.1:9 (then / now)" in said


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two commits, in the place of this one."""
    root = tmp_path / "project"
    (root / "harness" / "load").mkdir(parents=True)
    for package in ("harness", "harness/load"):
        (root / package / "__init__.py").touch()
    (root / "requirements.lock").write_text("one\n")

    def git(*words: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    for number in (1, 2):
        (root / "harness" / "which.py").write_text(f"print({number})\n")
        git("add", "-A")
        git("commit", "-q", "-m", str(number))
    git("tag", "second")
    (root / "harness" / "which.py").write_text("print(3)\n")
    monkeypatch.setattr(tree, "ROOT", root)
    return root


def said_by(found: Tree) -> Any:
    """What the tree's own module prints."""
    return found.ask("import harness.which")


def test_revisions_are_unpacked_and_gone_again(repository: Path) -> None:
    head = repository / ".git"
    before = sorted(p.relative_to(head) for p in head.rglob("*"))
    with unpacked(["second~1", "second"]) as trees:
        first, second = trees
        assert [said_by(each) for each in trees] == [1, 2]
        assert first.commit == commit_of("HEAD~1")
        assert second.python == sys.executable  # the lock is the same
        assert first.told["project"] == {"commit": first.commit, "changed": False}
        assert first.environment["PYTHONPATH"] == str(first.root)
    assert not first.root.exists()
    # The user's repository was only read.
    assert sorted(p.relative_to(head) for p in head.rglob("*")) == before
    with pytest.raises(ZeroDivisionError), unpacked(["second"]) as trees:
        raise ZeroDivisionError
    assert not trees[0].root.exists()


def test_the_work_tree_as_it_stands_is_a_revision_too(repository: Path) -> None:
    with unpacked([".", "second"]) as (here, _):
        assert here == OWN
        assert here.told == {}


def test_no_revision(repository: Path) -> None:
    with pytest.raises(NoSuchTree) as caught, unpacked(["nope", "second", "--output=x"]):
        pass
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "nope",
        "--output=x",
    ]


def test_a_revision_that_does_not_understand_this_program(repository: Path) -> None:
    (repository / "harness" / "load" / "messages.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass TrialSpec:\n    cell: str\n"
    )
    subprocess.run(["git", "-C", str(repository), "add", "-A"], check=True)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(repository), *who, "commit", "-qm", "3"], check=True)
    with pytest.raises(BadInput) as caught, sides_of(["HEAD", "."], side_folders(Path("x"))):
        pass
    said = str(caught.value)
    assert "--interleave: HEAD is too far from this version" in said
    assert "TrialSpec.samples_path" in said
    # What has no generator at all says so.
    with pytest.raises(BadInput, match="second: does not run"), sides_of(["second", "second"], []):
        pass


def test_a_generators_and_servers_come_from_the_tree(run: Any, tmp_path: Path) -> None:
    from harness.rig.process import Rig

    package = tmp_path / "other"
    package.mkdir()
    (package / "speaks.py").write_text('print(\'{"event": "here", "file": "%s"}\' % __file__)\n')

    async def case() -> dict[str, Any] | None:
        async with Rig(tmp_path / "logs", Tree(package, sys.executable, "x", "c")) as rig:
            process = await rig.program("speaks", ["speaks"])
            return await process.hear()

    assert run(case()) == {"event": "here", "file": str(package / "speaks.py")}


def test_two_sides_of_one_run(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    sides = [
        Side(folder, Tree(tmp_path, sys.executable, name, f"commit-{name}"))
        for folder, name in zip(side_folders(tmp_path / "r"), "ab", strict=True)
    ]
    a, b = _run_infos(plan, sides, {}, ["bench.py"], this_machine())
    assert (a["run"], b["run"]) == ("r-a", "r-b")
    assert a["interleaved"]["id"] == b["interleaved"]["id"]
    assert [i["environment"]["project"]["commit"] for i in (a, b)] == ["commit-a", "commit-b"]
    assert [i["interleaved"]["revision"] for i in (a, b)] == ["a", "b"]
    (alone,) = _run_infos(plan, sides[:1], {}, ["bench.py"], this_machine())
    assert alone["interleaved"] is None
    assert len(list(drained(KnownTrials(plan)))) == 4


def drained(trials: KnownTrials) -> Sequence[Trial]:
    """All of them."""
    found = []
    while (trial := trials.next()) is not None:
        found.append(trial)
    return found


def test_interleave_is_checked_with_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    full = tmp_path / "out-b"
    full.mkdir()
    (full / "mine").touch()
    words = ["run", "smoke", "--rate", "-5", "--interleave", "nope", "--", "x"]
    assert main([*words[:-2], "nope2", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "--interleave: nope: no commit of this repository" in said
    assert "--interleave: nope2: no commit" in said
    assert "--rate: input should be greater than 0" in said
    assert "out-b is not empty" in said
    assert not (tmp_path / "out-a").exists()
    search = "capacity"
    assert main(["run", search, "--interleave", ".", ".", "--out", str(tmp_path / "s")]) == 2
    assert "--interleave: a search goes by what it sees of one" in capsys.readouterr().err
