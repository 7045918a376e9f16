"""`rollcast bench gpu` from end to end at toy sizes: the same steps, on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.steps import STEPS

pytestmark = pytest.mark.processes


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_step_is_rehearsed(tmp_path: Path) -> None:
    """Caps are many times as long: nothing is timed here."""
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-P", "-m", "rollcast.server.cli", "bench", "gpu", "--rehearse"]
    done = subprocess.run(
        [*command, "--caps", "20", "--json", str(out)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr + out.read_text()
    report = json.loads(out.read_text())
    assert report["rehearsal"] and report["machine"]["packages"]["torch"]
    found = {number: step["status"] for number, step in report["steps"].items()}
    assert found == {str(step.number): "good" for step in STEPS}
    results = {number: step["results"] for number, step in report["steps"].items()}
    assert results["1"]["ring attention, float16"]["error"] > 0
    assert results["1"]["goldens"] and results["2"]["eager"]["fps"] > 0
    busy = results["2"]["eager"]["busy_share"]
    assert busy["in flight"] > 0.99 > busy["alone"] > 0
    assert results["6"]["1 sessions"]["fps"][0] > 0


@pytest.mark.long
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "rollcast.server.cli", "bench", "gpu"]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "gpu.json")],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "no CUDA device" in done.stderr
    assert not (tmp_path / "gpu.json").exists()
