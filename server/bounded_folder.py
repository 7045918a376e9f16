"""A folder that is private and never larger than it may be, for files that grow.

Where there is no more room the oldest file that is over makes some; if there is none, the file that
wants to grow ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self


class BoundedFolder:
    """Holds at most `most_bytes` in files of these endings, written from any threads.

    Raises OSError where it cannot be written.
    """

    def __init__(self, path: Path, most_bytes: int, endings: Sequence[str]) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._endings = tuple(endings)
        self._open: set[Path] = set()
        self._lock = threading.Lock()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._total = sum(each.stat().st_size for each in self._files())

    def new(self, name: str) -> BoundedFile:
        """A new file of this name, which only its owner may read. Raises OSError."""
        path = self._path / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with self._lock:
            self._open.add(path)
        return BoundedFile(self, path, descriptor)

    def find(self, pattern: str) -> Path | None:
        """A file whose name fits, if there is one."""
        return next(iter(self._path.glob(pattern)), None)

    def _files(self) -> list[Path]:
        return [path for path in self._path.iterdir() if path.suffix in self._endings]

    def take(self, byte_count: int) -> bool:
        """Whether so much more may be written, which then is; files that are over may go for it."""
        with self._lock:
            if self._total + byte_count > self._most_bytes:
                self._make_room(byte_count)
            fits = self._total + byte_count <= self._most_bytes
            self._total += byte_count * fits
            return fits

    def closed(self, path: Path) -> None:
        """A file is over, and may be deleted from now on."""
        with self._lock:
            self._open.discard(path)

    def _make_room(self, byte_count: int) -> None:
        sizes = {path: path.stat() for path in self._files()}
        self._total = sum(each.st_size for each in sizes.values())
        for path in sorted(sizes, key=lambda each: sizes[each].st_mtime):
            if self._total + byte_count <= self._most_bytes:
                return
            if path not in self._open:
                self._total -= sizes[path].st_size
                path.unlink()


class BoundedFile:
    """One file that grows; every byte goes to the system at once and outlives the process."""

    def __init__(self, folder: BoundedFolder, path: Path, descriptor: int) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self.path = path
        self.size = 0

    def append(self, data: bytes) -> bool:
        """Write all of it; false: there is no room for it. Raises OSError."""
        if not self._folder.take(len(data)):
            return False
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self.size += len(data)
        return True

    def put(self, at: int, data: bytes) -> bool:
        """As `append`, from byte `at` on, which may be written already."""
        if not self._folder.take(max(0, at + len(data) - self.size)):
            return False
        rest = memoryview(data)
        while rest:
            count = os.pwrite(self._descriptor, rest, at)
            rest, at = rest[count:], at + count
        self.size = max(self.size, at)
        return True

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._descriptor)
        self._folder.closed(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
