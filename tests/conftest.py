"""What every test shares: where the fixtures lie and a machine that is not fought over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Set before torch is imported: tests run beside each other and small tensors gain nothing.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Golden files shared by several tests."""
    return Path(__file__).resolve().parent / "fixtures"
