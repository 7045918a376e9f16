"""What is run on a GPU, rehearsed here at toy sizes, kernels in Triton's interpreter."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.clock import spread
from rollcast.benchmarks.gpu.kernel_checks import Found, poisoned_outputs, relative
from rollcast.benchmarks.gpu.on_device import main


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_times_are_reported(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    assert main(["--rehearse", "--only", "kernels", "--out", str(out)]) == 0
    report = json.loads(out.read_text())["kernels"]
    assert report["passes"]["modulate"]["triton"]["ms"]["median"] > 0
    assert set(report["sparse"]["0.25"]) == {"dense", "given_list", "chosen", "chosen_and_means"}


def test_an_element_that_is_never_written_is_wrong() -> None:
    wanted = torch.ones(3)
    with poisoned_outputs():
        made = wanted.new_empty(3)
    made[:2] = 1
    assert not Found(relative(made, wanted), 1e-3).good
    made[2] = 1
    assert Found(relative(made, wanted), 1e-3).good


def test_spread() -> None:
    assert spread([3.0]) == {"median": 3.0, "p10": 3.0, "p90": 3.0}
    found = spread([float(i) for i in range(11)])
    assert found["median"] == 5 and math.isclose(found["p10"], 1) and math.isclose(found["p90"], 9)


def test_the_committed_report_is_of_a_gpu_and_right(repository: Path) -> None:
    report = json.loads((repository / "benchmarks" / "gpu" / "h100.json").read_text())
    assert "H100" in report["device"] and report["torch"] and report["triton"]
    assert report["checks"] and all(row["good"] for row in report["checks"].values())
