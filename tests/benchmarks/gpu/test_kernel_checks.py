"""What checks and times on a GPU are made of, and the report of an H100."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.clock import spread
from rollcast.benchmarks.gpu.kernel_checks import Found, poisoned_outputs, relative, repeated


def test_an_element_that_is_never_written_is_wrong() -> None:
    wanted = torch.ones(3)
    with poisoned_outputs():
        made = wanted.new_empty(3)
    made[:2] = 1
    assert not Found(relative(made, wanted), 1e-3).good
    made[2] = 1
    assert Found(relative(made, wanted), 1e-3).good


def test_results_that_differ_are_wrong() -> None:
    same, differs = repeated(lambda: (torch.ones(2), torch.zeros(1)))
    assert differs == 0 and torch.equal(same[0], torch.ones(2))
    numbers = iter((0.0, -0.0, 0.0))
    assert math.isnan(repeated(lambda: (torch.full((1,), next(numbers)),))[1])


def test_spread() -> None:
    assert spread([3.0]) == {"median": 3.0, "p10": 3.0, "p90": 3.0}
    found = spread([float(i) for i in range(11)])
    assert found["median"] == 5 and math.isclose(found["p10"], 1) and math.isclose(found["p90"], 9)


def test_the_committed_report_is_of_a_gpu_and_right(repository: Path) -> None:
    report = json.loads((repository / "benchmarks" / "gpu" / "h100.json").read_text())
    assert "H100" in report["device"] and report["torch"] and report["triton"]
    assert report["checks"] and all(row["good"] for row in report["checks"].values())
