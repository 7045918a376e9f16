"""Kernels and whole models on a GPU at Wan's sizes: the checks of `rollcast bench gpu`.

Nothing has a time limit here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.kernel_checks import Grid, kernel_checks
from rollcast.benchmarks.gpu.model_checks import Reach, model_checks
from rollcast.benchmarks.gpu.option_checks import option_checks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1",
        reason="no CUDA device is here"
        if not torch.cuda.is_available()
        else "a CUDA device is here, but TRITON_INTERPRET=0 is not set",
    ),
]
KERNELS, MODELS = kernel_checks() | option_checks(), model_checks()


@pytest.fixture
def many_threads() -> Iterator[None]:
    """For the side that is a CPU's; tests have one thread otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(8, os.cpu_count() or 1))
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name: str) -> None:
    found = KERNELS[name](Grid(torch.device("cuda")))
    assert found.good, found


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("name", MODELS)
def test_model(name: str) -> None:
    found = MODELS[name](Reach(torch.device("cuda")))
    assert found.good, found
