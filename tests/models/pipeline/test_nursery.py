"""Stages are forked from a process that has imported torch already, and end with it."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.nursery import Child, Nursery, can_fork
from rollcast.models.pipeline.pipeline import Pipeline, PipelineFailed

from ...processes import alive

pytestmark = pytest.mark.skipif(not can_fork(), reason="stages are forked on Linux only")


class Ward:
    """A nursery of the test's own, its children and our ends of their connections."""

    def __init__(self) -> None:
        self.nursery = Nursery()
        self._open: list[tuple[Child, socket.socket]] = []

    def child(self, *preload: str) -> tuple[Child, socket.socket]:
        """A stage, and our end of its control connection."""
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        with theirs:
            fd = theirs.fileno()
            born = self.nursery.spawn(os.environ, preload, [f"--fd={fd}"], [fd]), ours
        self._open.append(born)
        return born

    @property
    def pid(self) -> int:
        assert self.nursery._process is not None
        return self.nursery._process.pid

    def close(self) -> None:
        """End all of it."""
        for child, ours in self._open:
            child.kill()
            child.wait(10)
            ours.close()
        self.nursery.end()


@pytest.fixture
def ward() -> Iterator[Ward]:
    mine = Ward()
    yield mine
    mine.close()


def beats(control: socket.socket) -> bool:
    """Whether something comes from the stage before its connection ends."""
    return bool(control.recv(1))


def what_fails(spec: ModelSpec) -> str:
    pipeline = Pipeline(spec)
    try:
        with pytest.raises(PipelineFailed) as failed:
            pipeline.start()
    finally:
        pipeline.stop()
    return str(failed.value)


def test_what_is_preloaded_is_imported_once_for_all(
    ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counted.py").write_text(f"open({str(tmp_path / 'count')!r}, 'a').write('x')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    children = [ward.child("counted") for _ in range(3)]
    assert all(beats(control) for _, control in children)
    assert len({child.pid for child, _ in children}) == 3
    assert (tmp_path / "count").read_text() == "x"


def test_what_is_prepared_is_imported_before_there_is_a_child(
    ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tmp_path / "count"
    (tmp_path / "counted.py").write_text(f"open({str(count)!r}, 'a').write('x')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ward.nursery.prepare(os.environ, ["counted", "absent"])
    end_s = time.monotonic() + 60
    while not count.exists():
        assert time.monotonic() < end_s, "it was not imported"
        time.sleep(0.01)
    assert beats(ward.child("counted")[1])
    assert count.read_text() == "x"


def test_a_child_is_killed_at_once_and_leaves_nothing(ward: Ward) -> None:
    child, control = ward.child()
    assert beats(control)
    assert child.poll() is None
    child.kill()
    child.wait(10)
    assert child.poll() == 0
    end_s = time.monotonic() + 10
    while alive(child.pid):
        assert time.monotonic() < end_s, "nobody waited for it"
    child.kill()  # for the second time: nothing


def test_children_end_with_the_nursery_and_the_next_one_has_another(ward: Ward) -> None:
    child, control = ward.child()
    assert beats(control)
    os.kill(ward.pid, signal.SIGKILL)
    while control.recv(1 << 16):
        pass
    child.wait(10)
    assert beats(ward.child()[1])


def test_a_nursery_that_hangs_is_not_asked_again(ward: Ward) -> None:
    _, control = ward.child()
    assert beats(control)
    os.kill(ward.pid, signal.SIGSTOP)
    unborn, _ = ward.child()
    unborn.kill()
    unborn.wait(10)
    assert unborn.pid == 0
    assert beats(ward.child()[1])


def test_a_stage_has_the_environment_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec("telling:environment", {"name": "ROLLCAST_TEST"})
    monkeypatch.setenv("ROLLCAST_TEST", "early")
    assert "ROLLCAST_TEST is early" in what_fails(spec)
    monkeypatch.setenv("ROLLCAST_TEST", "late")
    assert "ROLLCAST_TEST is late" in what_fails(spec)
    monkeypatch.delenv("ROLLCAST_TEST")
    assert "ROLLCAST_TEST is None" in what_fails(spec)


def test_all_pipelines_of_a_process_have_one_nursery() -> None:
    spec = ModelSpec("telling:parent")
    first, second = (re.findall(r"parent (\d+)\.", what_fails(spec)) for _ in range(2))
    assert first == second and first
