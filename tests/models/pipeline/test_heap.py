"""What was freed between what is used goes back to the system, and so do large blocks at once."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's heap"),
]

# Blocks that malloc has, not Python's own allocator; every hundredth stays, the last one, too, so
# that nothing goes back by itself.
PROGRAM = """
import resource
from rollcast.models.pipeline.heap import return_unused
def held_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
blocks = [bytes(30_000) for _ in range(3_000)]
blocks = blocks[::100] + blocks[-1:]
before = held_mb()
return_unused()
print(before - held_mb())
"""


def test_free_pages_in_the_midst_are_returned() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120
    )
    assert float(done.stdout) > 60


BLOCK = 6 << 20

SCRIPT = f"""
import sys
from rollcast.models.pipeline.heap import return_large_blocks

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


def test_blocks_of_a_snapshots_size_go_back_to_the_system() -> None:
    assert _kept_bytes("by itself") > 6 * BLOCK  # else the next line would show nothing
    assert _kept_bytes("set") < 2 * BLOCK
