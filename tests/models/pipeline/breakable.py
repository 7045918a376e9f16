"""Models without torch that break their process or start programs. Stage processes import them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.test_pattern import TestPattern, TestPatternState

POISON = "poison "
"""A prompt that begins so does what its second word says."""


class Breakable(TestPattern):
    """The test pattern, which obeys such prompts."""

    def step(self, state: object, controls: Controls) -> Chunk:
        if controls.prompt is not None and controls.prompt.startswith(POISON):
            break_by(controls.prompt.removeprefix(POISON))
        return super().step(state, controls)


class Spawning(TestPattern):
    """Starts a program, without closing what it could pass on, as some compilers do."""

    def __init__(self) -> None:
        super().__init__()
        code = "import time; time.sleep(60)"
        self.child = subprocess.Popen([sys.executable, "-c", code], close_fds=False)


class Hangs(TestPattern):
    """Hangs where it is told to while `path` is there; its heart beats all the same."""

    def __init__(self, where: str, path: str) -> None:
        self._where, self._path = where, path
        self._hang("make")
        super().__init__()

    def start(self, request: StreamRequest) -> TestPatternState:
        self._hang("start")
        return super().start(request)

    def snapshot(self, state: object) -> bytes:
        self._hang("snapshot")
        return super().snapshot(state)

    def restore(self, data: bytes) -> TestPatternState:
        self._hang("restore")
        return super().restore(data)

    def _hang(self, where: str) -> None:
        while where == self._where and Path(self._path).exists():
            time.sleep(0.05)


def break_by(how: str) -> None:
    """What a model may do to its process; `once:FILE` does so only while FILE is not there."""
    how, _, path = how.partition(" once:")
    if path:
        if Path(path).exists():
            return
        Path(path).touch()
    match how:
        case "raise":
            raise RuntimeError("the model broke")
        case "memory":
            raise MemoryError
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case _:
            raise ValueError(f"no way to break: {how}")
