"""What was saved of a parked stream, in files of a folder and back in memory; it blocks.

The files have no names: nobody else can open them, and they are gone with the process, however
that ends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ...models.pipeline.part_file import SHARED_BYTES, Part, PartFile, bytes_of, can_share
from ...models.pipeline.past import Past

_BLOCK = 1 << 22


def check_folder(folder: Path) -> None:
    """Make the folder, for its owner alone, and try it. Raises ValueError where that fails."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise ValueError(
            f"park_dir {folder} cannot be written ({error.strerror}): name a folder that can"
        ) from error


def byte_count(past: Past) -> int:
    """What is large in it: parts of its snapshot, and media in controls since."""
    parts = sum(len(_bytes(part)) for part in past.parts.values())
    controls = sum(
        each.video.nbytes + each.audio.nbytes + len(each.picture or b"") + len(each.image or b"")
        for each in past.controls
    )
    return parts + controls


def to_disk(past: Past, folder: Path) -> Past:
    """The same with its parts in files. Raises OSError where they cannot be written."""
    return replace(past, parts={name: _written(part, folder) for name, part in past.parts.items()})


def to_memory(past: Past) -> Past:
    """The inverse of `to_disk`: parts as an executor takes them. Raises OSError."""
    return replace(past, parts={name: _read(part) for name, part in past.parts.items()})


def _written(part: bytes | Part, folder: Path) -> bytes | Part:
    view = _bytes(part)
    if not len(view):
        return part
    with tempfile.TemporaryFile(dir=folder) as file:
        for block in _blocks(view):
            file.write(block)
        file.flush()
        # what is read again may be hours away
        with suppress(OSError, AttributeError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return PartFile(os.dup(file.fileno()), len(view))


def _read(part: bytes | Part) -> bytes | Part:
    view = _bytes(part)
    shares = len(view) >= SHARED_BYTES and can_share()
    room: Part = PartFile.create(len(view)) if shares else memoryview(bytearray(len(view)))
    into, at = bytes_of(room), 0
    for block in _blocks(view):
        into[at : at + len(block)] = block
        at += len(block)
    return room


def _bytes(part: bytes | Part) -> memoryview:
    return memoryview(part) if isinstance(part, bytes) else bytes_of(part)


def _blocks(view: memoryview) -> Iterator[memoryview]:
    return (view[at : at + _BLOCK] for at in range(0, len(view), _BLOCK))
