"""A recording's file: claimed early, never replaced unasked, its errors in a line each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rollcast.client.output_file import OutputError, OutputFile


def write(path: Path, data: bytes = b"new", *, overwrite: bool = False) -> None:
    with OutputFile(path, overwrite=overwrite) as file:
        file.write(data)


def test_what_is_there_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"what was there before")
    with pytest.raises(OutputError, match="is there already"):
        write(tmp_path / "a")
    with OutputFile(tmp_path / "a", overwrite=True):
        assert (tmp_path / "a").read_bytes() == b"what was there before"
    assert (tmp_path / "a").read_bytes() == b"what was there before"
    write(tmp_path / "a", overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"new"
    write(tmp_path / "b", overwrite=True)
    assert (tmp_path / "b").read_bytes() == b"new"


def test_a_name_may_be_as_long_and_as_odd_as_the_system_allows(tmp_path: Path) -> None:
    for name in (
        "x" * 251 + ".mp4",
        "12:30:00.mp4",
        "file:a.mp4",
        "-.mp4",
        "ü 微.mp4",
        "[red].mp4",
    ):
        write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"new"


def test_what_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, why in (
        (tmp_path / "folder.mp4", "is there already"),
        (tmp_path / ("x" * 300 + ".mp4"), "name too long"),
        (tmp_path / "none" / "a.mp4", "there is no folder"),
        (tmp_path / "nul\0.mp4", "null byte"),
        (Path("/proc/a.mp4"), "cannot write /proc/a.mp4"),
    ):
        with pytest.raises(OutputError, match=f"(?i){why}"):
            write(path)
    for name, why in (("folder.mp4", "Is a directory"), ("pipe.mp4", "no file")):
        with pytest.raises(OutputError, match=why):
            write(tmp_path / name, overwrite=True)


def test_a_full_disk_is_said_once_and_the_rest_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with OutputFile(tmp_path / "full", overwrite=True) as file:
        with pytest.raises(OutputError, match="No space left"):
            file.write(b"x")
        assert file.write(b"y") == 1


def test_a_new_file_that_stays_empty_goes(tmp_path: Path) -> None:
    with OutputFile(tmp_path / "a"):
        assert (tmp_path / "a").exists()
    with OutputFile(tmp_path / "b") as file:
        file.write(b"x")
        file.discard()
    assert list(tmp_path.iterdir()) == []
