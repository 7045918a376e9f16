"""Large blocks go back to the system, whatever was freed before."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BLOCK = 6 << 20

SCRIPT = f"""
import sys
from rollcast.server.allocator import return_large_blocks

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "set":
    assert return_large_blocks()
bytes({BLOCK})  # freed: from here on glibc by itself takes such blocks from its heap
before = resident()
large = [b"x" * {BLOCK} for _ in range(8)]
small = [bytearray(100_000) for _ in range(8)]  # what lies above them in the heap keeps them there
del large
print(resident() - before)
"""


def _kept_bytes(how: str) -> int:
    run = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, how], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_blocks_of_a_snapshots_size_go_back_to_the_system() -> None:
    assert _kept_bytes("by itself") > 6 * BLOCK  # else the next line would show nothing
    assert _kept_bytes("set") < 2 * BLOCK
