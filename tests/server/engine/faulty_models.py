"""Models that break when they are told to by a signal; stage processes import them by name."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from rollcast.models.contract import Chunk, Controls
from rollcast.models.registry import load_model
from rollcast.models.test_pattern import TestPattern

EXCEPTION, MEMORY_ERROR = signal.SIGUSR1, signal.SIGUSR2
_ERRORS: dict[int, type[Exception]] = {EXCEPTION: RuntimeError, MEMORY_ERROR: MemoryError}


class Fuse:
    """Raises once for each signal that came."""

    def __init__(self) -> None:
        self._blown: list[int] = []
        for number in _ERRORS:
            signal.signal(number, lambda got, _: self._blown.append(got))

    def check(self) -> None:
        if self._blown:
            raise _ERRORS[self._blown.pop()]("by a signal")


class FaultyPattern(TestPattern):
    """The test pattern with a fuse."""

    def __init__(self) -> None:
        super().__init__()
        self._fuse = Fuse()

    def step(self, state: Any, controls: Controls) -> Chunk:
        self._fuse.check()
        return super().step(state, controls)


class Paced(TestPattern):
    """The test pattern whose step takes as many seconds more as a file says."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)

    def step(self, state: Any, controls: Controls) -> Chunk:
        time.sleep(float(self._path.read_text() or 0))
        return super().step(state, controls)


def faulty_pocket(threads: int = 1) -> Any:
    """The embedded model with a fuse before each call of its student."""
    model: Any = load_model("pocket", threads=threads)
    fuse, denoise = Fuse(), model.denoise

    def checked(rows: Any) -> Any:
        fuse.check()
        return denoise(rows)

    model.denoise = checked
    return model
