"""What every test shares: where the fixtures lie, which lane it is in, what it may run beside."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

# Set before torch is imported: tests run beside each other and small tensors gain nothing.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Read when Triton is imported: kernels run in its interpreter, without a GPU. Tests that compile do
# it in a process of their own with this unset; `TRITON_INTERPRET=0 pytest` runs kernels on a GPU.
os.environ.setdefault("TRITON_INTERPRET", "1")

# Nothing of what is imported and collected is garbage: until all is there, none is looked for.
gc.disable()

TESTS = Path(__file__).resolve().parent

# Files of a group run one after the other in one worker, all others wherever a worker is free, in
# this order. What lives by the clock starts early and lasts longest, since it mostly waits, with
# something that computes beside it; no two browsers or sets of stages are ever up side by side, and
# clips are rendered once. Files that compute for long come before the short ones, or a worker would
# be left alone with them at the end.
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("browser", ("browser/",)),
    ("sockets", tuple(f"server/web/test_{letter}" for letter in "rstvw")),
    ("", ("models/pocket/", "benchmarks/quality/")),
    ("server", ("server/web/", "server/media/")),
    ("peers", ("client/", "examples/", "stranger/", "benchmarks/attack/", "benchmarks/stream/")),
    ("stages", ("models/pipeline/", "server/engine/", "benchmarks/pipeline/")),
    ("training", ("training/",)),
    ("", ("benchmarks/", "kernels/", "models/")),
    ("", ("",)),
)

# Why a test is left out, the first that holds; "other" is for who chooses tests by hand.
REASONS = ("training", "long", "peers", "alone", "browser", "processes", "slow", "gpu")
LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin counting what is left out."""
    config.stash[LEFT_OUT] = Counter()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The lane `alone` imports the few files that have such a test and no other."""
    chosen = str(config.getoption("markexpr")).startswith("alone")
    if chosen and collection_path.suffix == ".py":
        return not _says_alone(collection_path) or None
    return None


def _says_alone(file: Path) -> bool:
    return "mark.alone" in file.read_text("utf-8")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by their groups."""
    items.sort(key=lambda item: group(item.nodeid)[0])
    for item in items:
        if item.get_closest_marker("alone") and not _says_alone(item.path):
            raise pytest.UsageError(f"{item.nodeid}: its file itself has to say mark.alone")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: no pass of the garbage collector looks through it.

    Nor does one now: what it would free is little for a second of each worker.
    """
    gc.freeze()
    gc.enable()


def group(nodeid: str) -> tuple[int, str]:
    """Where a test's group is in `GROUPS`, and its name; a file without one is its own."""
    file = nodeid.partition("::")[0].removeprefix("tests/")
    place = next(k for k, (_, paths) in enumerate(GROUPS) if file.startswith(paths))
    return place, GROUPS[place][0] or file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Workers are given groups. (`--dist loadgroup` would need names that pytest 9 hides.)"""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)[1]

    return GroupScheduling(config, log)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count by the reason why."""
    for item in items:
        marked = (name for name in REASONS if item.get_closest_marker(name))
        item.config.stash[LEFT_OUT][next(marked, "other")] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells what it left out; each has collected everything."""
    told: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["left_out"] = dict(session.config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear it from a worker that ends."""
    node.config.stash[LEFT_OUT] |= Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what this lane did not test, and why."""
    left_out = config.stash[LEFT_OUT]
    parts = [f"{left_out[name]} {name}" for name in (*REASONS, "other") if left_out[name]]
    terminalreporter.write_line(f"left out of this lane: {', '.join(parts) or 'nothing'}")
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"skipped here: {count}, {reason}")


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
    return TESTS.parent


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Golden files shared by several tests."""
    return TESTS / "fixtures"
