"""What was freed between what is used goes back to the system."""

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
