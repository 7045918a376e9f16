"""Memory of a process, and whether it grows."""

from __future__ import annotations

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


def family_mb(pid: int) -> float:
    """Resident memory of a process and all that it started, in megabytes (1e6 bytes).

    What processes share, such as the code of libraries, counts for each of them.
    """
    return sum(_resident(pid).values()) * 1024 / 1e6


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    return list(_resident(pid))


def _resident(pid: int) -> dict[int, int]:
    """Resident memory, in KiB, of a process and all that it started."""
    listing = subprocess.run(["ps", "-axo", "pid=,ppid=,rss="], capture_output=True, check=True)
    rows = [tuple(map(int, line.split())) for line in listing.stdout.decode().splitlines()]
    family = {pid}
    while more := {child for child, parent, _ in rows if parent in family} - family:
        family |= more
    return {member: rss for member, _, rss in rows if member in family}


def slope_per_min(at_s: Sequence[float], values: Sequence[float]) -> float:
    """By how much a value grows in a minute, by least squares."""
    return float(np.polyfit(np.array(at_s) / 60, values, 1)[0])
