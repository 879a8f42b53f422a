"""`calibrate` from the command line (issue 6.8), cut short: the path, the bounds that the truth
server forces, what is kept. How good the figures are is not for a test on a shared machine."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness import calibration
from harness.analysis.calibration import services_ns
from harness.analysis.queueing import sojourns
from harness.calibration import Part
from harness.cli import calibrate
from harness.cli.__main__ import main
from harness.machine import calibration_of
from harness.plan import make_plan
from harness.report.instrument import quoted
from harness.results import DONE, open_run, read_samples

STYLE = "websocket"
KEPT = ("fixed", "stall")


def shorter(styles: list[str]) -> list[Part]:
    """Two parts of a calibration, of a second each."""
    lengths = {"duration_s": 1.0, "warm_up_s": 0.2, "repeats": 1}
    return [
        Part(part.name, make_plan(part.plan.scenario.model_copy(update=lengths)))
        for part in calibration.parts(styles)
        if part.name in KEPT
    ]


def test_a_calibration_is_judged_kept_and_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORDERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(calibrate, "parts", shorter)
    folder = tmp_path / "calibrated"
    code = main(["calibrate", "--styles", STYLE, "--out", str(folder)])
    found = json.loads((folder / "calibration.json").read_text())
    assert {c["variant"] for c in found["checks"]} == {"websocket:websockets+websockets"}
    assert code == (1 if found["headline"]["not_met"] else 0)
    assert found["headline"]["checks"] == len(found["checks"])
    shown = capsys.readouterr().out
    assert "about 0:" in shown
    assert all(check["what"] in shown for check in found["checks"])

    run = open_run(folder / "fixed")
    assert run.info["instrument"] is None, "there was none when it began"
    assert quoted({"instrument": calibration_of(run.info["environment"])}).startswith(
        "calibrated on"
    )
    (cell,) = [
        each["id"]
        for each in run.info["cells"]
        if (each["load"]["rate"], each["condition"]["work_mean_ms"]) == (1000.0, 1.0)
    ]
    samples = read_samples(run.trials[cell][0])
    assert (samples.outcome == DONE).all()
    (check,) = [c for c in found["checks"] if c["what"] == "error, fixed 1 ms, 50% load"]
    # Every second order has work, from the first on.
    working = np.arange(len(samples)) % 2 == 0
    assert check["operations"] == (samples.measured & working).sum()
    # However late the orders came, and whoever overtook whom: of equal work the n-th to be done is
    # done no sooner than the n-th departure of the queue that the plan makes.
    planned = samples.planned[working]
    true = planned + sojourns(planned, services_ns([1000], len(planned), 0.0))
    assert (np.sort(samples.processed[working]) >= np.sort(true)).all()
