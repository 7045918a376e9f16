"""Parts of snapshots to disk and back, in files that nobody else can open."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.part_file import Part, PartFile, bytes_of, can_share
from rollcast.models.pipeline.past import Past
from rollcast.server.engine.parked_files import byte_count, check_folder, to_disk, to_memory


def a_past() -> Past:
    random = np.random.default_rng(3)
    large, small = random.bytes(5 << 20), random.bytes(100)
    parts = {"large": memoryview(large), "small": small, "empty": memoryview(b"")}
    return Past(StreamRequest(seed=4), parts, 7, [Controls(seed=1)], 9, {8: 2}, small=False)


def raw(part: bytes | Part) -> bytes:
    return part if isinstance(part, bytes) else bytes(bytes_of(part))


def test_they_come_back_as_they_were_and_leave_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "parked"
    check_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    past = a_past()
    saved = to_disk(past, folder)
    assert not list(folder.iterdir()), "a file without a name goes with the process"
    on_disk = saved.parts["large"]
    assert isinstance(on_disk, PartFile)
    assert byte_count(saved) == byte_count(past) == (5 << 20) + 100
    back = to_memory(saved)
    assert {name: raw(part) for name, part in back.parts.items()} == {
        name: raw(part) for name, part in past.parts.items()
    }
    assert isinstance(back.parts["large"], PartFile) == can_share(), "as stages share it"
    assert (back.behind, back.controls, back.shown_from, back.rows) == (7, past.controls, 9, {8: 2})


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match=r"park_dir .*file cannot be written"):
        check_folder(tmp_path / "file")
    if os.getuid():
        (tmp_path / "closed").mkdir(0o500)
        with pytest.raises(ValueError, match="Permission denied"):
            check_folder(tmp_path / "closed")
