"""What every test shares: where the fixtures lie and a machine that is not fought over."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

# Set before torch is imported: tests run beside each other and small tensors gain nothing.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Read when Triton is imported: kernels run in its interpreter, without a GPU. Tests that compile do
# it in a process of their own with this unset; `TRITON_INTERPRET=0 pytest` runs kernels on a GPU.
os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that cannot run is a failure, unless it is for a GPU."""
    report = yield
    wanted = item.get_closest_marker("gpu") is None and not hasattr(report, "wasxfail")
    if report.skipped and wanted and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Golden files shared by several tests."""
    return Path(__file__).resolve().parent / "fixtures"
