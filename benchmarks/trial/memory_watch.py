"""The most memory that a server took, host and GPU, seen from outside while it runs."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from ..stream.memory import family_mb

EVERY_S = 0.25
LEAST_PAUSE = 10.0
"""Times as long as a look takes."""


class MemoryWatch:
    """A context manager: looks at a process and all that it starts several times a second.

    `host_peak` is in bytes: what they share counts once (`stream.memory.family_mb`), and pages of
    files that are mapped count while they are in memory. `device_peak` is how much more of all
    GPUs was in use than at the start, by whomever; None where `nvidia-smi` finds no GPU.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._at_start = device_bytes()
        self.host_peak = 0
        self.device_peak = None if self._at_start is None else 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            began_s = time.monotonic()
            self.host_peak = max(self.host_peak, round(1e6 * family_mb(self._pid)))
            now = None if self._at_start is None else device_bytes()
            if now is not None and self._at_start is not None:
                self.device_peak = max(self.device_peak or 0, now - self._at_start)
            # to look at a process of many gigabytes takes the kernel a while
            took_s = time.monotonic() - began_s
            if self._ended.wait(max(EVERY_S, LEAST_PAUSE * took_s)):
                return


def device_bytes() -> int | None:
    """Memory in use on all NVIDIA GPUs; None where there is none."""
    used = nvidia_smi("memory.used")
    return None if used is None else sum(int(each) for each in used) * 2**20


def nvidia_smi(field: str) -> list[str] | None:
    """A value of each GPU, without its unit; None where there is none."""
    with suppress(OSError, subprocess.TimeoutExpired):
        asked = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10)
        if done.returncode == 0:
            return done.stdout.split("\n")[:-1]
    return None
