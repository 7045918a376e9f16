"""What counts as a server's memory."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest

from rollcast.benchmarks.stream.memory import family_mb, family_own_mb

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SIZE = 40_000_000


def test_pages_of_files_are_not_a_process_own(tmp_path: Path) -> None:
    file = tmp_path / "library"
    file.write_bytes(os.urandom(SIZE))
    before, own_before = family_mb(os.getpid()), family_own_mb(os.getpid())
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        assert sum(pages[place] for place in range(0, SIZE, mmap.PAGESIZE)) > 0
        assert family_mb(os.getpid()) - before > 0.8 * SIZE / 1e6
        assert family_own_mb(os.getpid()) - own_before < 0.2 * SIZE / 1e6
        held = bytearray(b"x" * SIZE)
        assert family_own_mb(os.getpid()) - own_before > 0.8 * len(held) / 1e6
