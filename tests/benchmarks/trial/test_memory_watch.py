"""The most that a process and its children had in memory, seen from outside."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rollcast.benchmarks.trial import memory_watch
from rollcast.benchmarks.trial.memory_watch import MemoryWatch, device_bytes

CHILD = """
import subprocess, sys, time
held = bytearray(150_000_000)
inner = "import time; held = bytearray(100_000_000); time.sleep(1.5)"
subprocess.run([sys.executable, "-c", inner])
del held
time.sleep(0.5)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_peak_of_parent_and_child_is_seen() -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD])
    with MemoryWatch(child.pid) as memory:
        child.wait()
    assert 250e6 < memory.host_peak < 330e6


def test_gpus_are_counted_as_nvidia_smi_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_watch, "nvidia_smi", lambda field: ["1000", "24"])
    assert device_bytes() == 1024 * 2**20
    monkeypatch.setattr(memory_watch, "nvidia_smi", lambda field: None)
    assert device_bytes() is None
