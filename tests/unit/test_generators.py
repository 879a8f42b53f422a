"""The generators of a trial as one: told alike, awaited together, and named when one fails
(issue 8.3)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from benchmarks.trial import SPEC
from harness.generators import Generators
from harness.load.messages import TrialSpec
from harness.load_process import LoadProcess, PartLost, Progress, TrialFailed
from harness.results import part_path
from tests.support import Run


class FakeProcess:
    """A generator that does what its part is told to."""

    def __init__(
        self, fails_at: str = "", waits_at: str = "", failing: type[TrialFailed] = TrialFailed
    ) -> None:
        self._fails_at = fails_at
        self._failing = failing
        self.stopped: int | None = None
        self._waits_at = waits_at
        self.spec: TrialSpec
        self.began: int | None = None
        self.progress: Progress | None = None
        self.gave_up: list[str] = []

    async def _at(self, step: str) -> None:
        if step == self._fails_at:
            raise self._failing(f"ended before {step!r}")
        if step == self._waits_at:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.gave_up.append(step)

    async def open(self, spec: TrialSpec) -> None:
        """See LoadProcess.open."""
        self.spec = spec
        await self._at("ready")

    def send(self, began: int | None = None) -> int:
        """See LoadProcess.send."""
        self.began = began
        return began or 0

    def stop(self, at_ns: int) -> None:
        """See LoadProcess.stop."""
        self.stopped = at_ns

    async def drained(self, progress: Progress | None = None) -> None:
        """See LoadProcess.drained."""
        self.progress = progress
        await self._at("drained")

    async def finish(self, arrivals: Sequence[Path] = ()) -> None:
        """See LoadProcess.finish: the part's samples are there, whatever comes then."""
        Path(self.spec.samples_path).write_text("samples")
        await self._at("end")


def of(*processes: FakeProcess) -> Generators:
    """Generators of a trial."""
    return Generators([cast(LoadProcess, each) for each in processes])


def spec(folder: Path) -> TrialSpec:
    """A trial."""
    return replace(SPEC, samples_path=str(folder / "1.parquet"), connections=5)


def test_each_is_told_the_whole_and_which_part_it_is(run: Run, tmp_path: Path) -> None:
    processes = [FakeProcess(), FakeProcess(), FakeProcess()]
    told = spec(tmp_path)
    generators = of(*processes)
    run(generators.open(told))
    for part, each in enumerate(processes):
        path = part_path(tmp_path / "1.parquet", part)
        assert each.spec == replace(told, part=part, parts=3, samples_path=str(path))
    began = generators.send()
    assert {each.began for each in processes} == {began}


def test_one_alone_is_told_nothing_of_parts(run: Run, tmp_path: Path) -> None:
    alone = FakeProcess()
    run(of(alone).open(spec(tmp_path)))
    assert alone.spec == spec(tmp_path)
    with pytest.raises(TrialFailed, match=r"^ended before 'drained'$"):
        run(of(FakeProcess("drained")).drained())


def test_progress_is_that_of_all_together(run: Run) -> None:
    first, second = FakeProcess(), FakeProcess()
    seen: list[tuple[float, float, int]] = []
    run(of(first, second).drained(lambda *told: seen.append(told)))
    assert first.progress is not None
    assert second.progress is not None
    second.progress(0.4, 40.0, 3)
    first.progress(0.5, 50.0, 1)
    assert seen == [(0.5, 90.0, 4)]


@pytest.mark.parametrize("step", ["ready", "drained", "end"])
def test_the_one_that_fails_is_named_and_nobody_waits_on(
    run: Run, tmp_path: Path, step: str
) -> None:
    other, failing = FakeProcess(waits_at=step), FakeProcess(step)
    generators = of(other, failing)

    async def trial() -> None:
        await generators.open(spec(tmp_path))
        generators.send()
        await generators.drained()
        await generators.finish()

    with pytest.raises(TrialFailed, match=f"^generator 2 of 2: ended before '{step}'$"):
        run(trial())
    assert other.gave_up == [step]
    generators.forget()
    assert list(tmp_path.iterdir()) == []


def test_others_go_on_without_one_whose_machine_is_gone(run: Run, tmp_path: Path) -> None:
    """Issue 8.4: what they have is kept; the last one has nobody to go on."""
    gone, left = FakeProcess("drained", failing=PartLost), FakeProcess()
    told: list[str] = []
    generators = of(gone, left)

    async def trial() -> None:
        await generators.open(spec(tmp_path))
        await generators.drained(losing=told.append)
        generators.stop(7)
        await generators.finish()

    with pytest.raises(TrialFailed, match="parts do not fit together"):  # a fake's are no samples
        run(trial())
    assert told == ["generator 1 of 2: ended before 'drained'"]
    assert (gone.stopped, left.stopped) == (None, 7)
    assert not Path(gone.spec.samples_path).exists()
    assert Path(left.spec.samples_path).exists()
    other = FakeProcess("drained", failing=PartLost)
    for nobody_left in (of(other), of(gone, other)):
        with pytest.raises(PartLost):
            run(nobody_left.drained(losing=told.append))
    with pytest.raises(PartLost):
        run(of(gone, left).drained())


def test_what_does_not_fit_together_is_a_trial_that_failed(run: Run, tmp_path: Path) -> None:
    generators = of(FakeProcess(), FakeProcess())

    async def trial() -> None:
        await generators.open(spec(tmp_path))
        await generators.finish()

    with pytest.raises(TrialFailed, match="parts do not fit together"):
        run(trial())
    assert not (tmp_path / "1.parquet").exists()
