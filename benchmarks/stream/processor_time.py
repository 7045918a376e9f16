"""Processor time of this machine and of some of its processes (Linux)."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .memory import family

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_IDLE = slice(3, 5)
"""Of the columns of /proc/stat: idle, and idle while a disk is waited for."""
_OWN = slice(11, 13)
"""Of the fields of a process behind its name: as itself, and in the kernel."""


def process_s(pid: int) -> float:
    """Processor time that a process, without those it started, has used. Raises OSError."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[_OWN])) * _TICK_S


class OtherLoad:
    """What processes that have nothing to do with this one ask of the machine.

    Where the system does not say so (Linux does), nothing.
    """

    def __init__(self) -> None:
        self._begin = self._now()

    def cores(self) -> float:
        """How many cores others kept busy since it was made.

        This process, those that it started and those that they started are no others; any of them
        that ends or begins meanwhile counts as one for what it used.
        """
        wall_s, busy_s, own_s = (
            after - before for after, before in zip(self._now(), self._begin, strict=True)
        )
        return max(0.0, (busy_s - own_s) / wall_s) if wall_s else 0.0

    @staticmethod
    def _now() -> tuple[float, float, float]:
        stat = Path("/proc/stat")
        if not stat.exists():
            return time.monotonic(), 0.0, 0.0
        columns = [int(each) for each in stat.read_text().splitlines()[0].split()[1:9]]
        busy_s = (sum(columns) - sum(columns[_IDLE])) * _TICK_S
        own_s = 0.0
        for pid in family(os.getpid()):
            with contextlib.suppress(OSError):
                own_s += process_s(pid)
        return time.monotonic(), busy_s, own_s
