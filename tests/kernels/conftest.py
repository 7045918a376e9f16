"""Where kernels run in tests: Triton's interpreter, or a GPU if there is one and it is asked for.

`tests/conftest.py` turns the interpreter on before anything imports Triton. On a machine with a GPU
`TRITON_INTERPRET=0 pytest tests/kernels` runs the same tests on it, bfloat16 included; the
interpreter multiplies bfloat16 as if it were integers, so it is left out there.
"""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where tensors for kernels go."""
    interpreting = os.environ.get("TRITON_INTERPRET") == "1"
    return torch.device("cpu" if interpreting else "cuda")
