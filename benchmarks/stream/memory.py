"""Memory of a process, and whether it grows."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def rss_mb(pid: int) -> float:
    """Resident memory of a process in megabytes (1e6 bytes)."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmRSS"))
        return int(line.split()[1]) * 1024 / 1e6
    listing = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True)
    return int(listing.stdout) * 1024 / 1e6


def family(pid: int) -> set[int]:
    """A process and all that it started."""
    listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, check=True)
    rows = [tuple(map(int, line.split())) for line in listing.stdout.decode().splitlines()]
    members = {pid}
    while more := {child for child, parent in rows if parent in members} - members:
        members |= more
    return members


def family_mb(pid: int) -> float:
    """Memory of a process and all that it started, in megabytes (1e6 bytes).

    What they share, such as the code of libraries, counts once. Where the kernel does not say how
    much that is (Linux does) it counts for each of them.
    """
    return _family_sum(pid, ("Pss:",))


def family_own_mb(pid: int) -> float:
    """The same without the pages of files, such as libraries.

    How much of those counts depends on who else has them in memory: when another process ends that
    had torch, the share of those that stay grows.
    """
    return _family_sum(pid, ("Pss_Anon:", "Pss_Shmem:"))


def family_files(pid: int) -> int:
    """Open files of a process and all that it started, sockets and pipes included. Linux alone."""
    total = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{member}/fd"))
    return total


def _family_sum(pid: int, parts: tuple[str, ...]) -> float:
    total = 0.0
    for member in family(pid):
        # it may end meanwhile
        with contextlib.suppress(OSError, subprocess.CalledProcessError, StopIteration):
            total += _share_mb(member, parts)
    return total


def _share_mb(pid: int, parts: tuple[str, ...]) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if not rollup.exists():
        return rss_mb(pid)
    lines = [x for x in rollup.read_text().splitlines() if x.startswith(parts)]
    return sum(int(line.split()[1]) for line in lines) * 1024 / 1e6


def slope_per_min(at_s: Sequence[float], values: Sequence[float]) -> float:
    """By how much a value grows in a minute, by least squares."""
    return float(np.polyfit(np.array(at_s) / 60, values, 1)[0])
