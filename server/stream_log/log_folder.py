"""The folder that logs are written to: private, and never larger than it may be.

Where there is no more room the oldest log that is over makes some; if there is none, the log that
wants to grow ends.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Self

from .records import MAGIC, SUFFIX


class LogFolder:
    """Holds at most `most_bytes` of logs; models write from threads of their own.

    Raises OSError where it cannot be written.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._open: set[Path] = set()
        self._lock = threading.Lock()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._total = sum(each.stat().st_size for each in path.glob(f"*{SUFFIX}"))

    def new(self, name: str) -> LogFile:
        """A new log, which only its owner may read."""
        path = self._path / f"{name}{SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with self._lock:
            self._open.add(path)
        file = LogFile(self, path, descriptor)
        file.append(MAGIC)
        return file

    def log_of(self, stream: str) -> Path | None:
        """The log that was made for this stream, if it is still there."""
        # names of streams have no marks that mean something in a pattern
        return next(iter(self._path.glob(f"*-{stream}{SUFFIX}")), None)

    def take(self, byte_count: int) -> bool:
        """Whether so much more may be written, which then is; logs that are over may go for it."""
        with self._lock:
            if self._total + byte_count > self._most_bytes:
                self._make_room(byte_count)
            fits = self._total + byte_count <= self._most_bytes
            self._total += byte_count * fits
            return fits

    def closed(self, path: Path) -> None:
        """A log is over, and may be deleted from now on."""
        with self._lock:
            self._open.discard(path)

    def _make_room(self, byte_count: int) -> None:
        sizes = {path: path.stat() for path in self._path.glob(f"*{SUFFIX}")}
        self._total = sum(each.st_size for each in sizes.values())
        for path in sorted(sizes, key=lambda each: sizes[each].st_mtime):
            if self._total + byte_count <= self._most_bytes:
                return
            if path not in self._open:
                self._total -= sizes[path].st_size
                path.unlink()


class LogFile:
    """One log that grows; every byte goes to the system at once and outlives the process."""

    def __init__(self, folder: LogFolder, path: Path, descriptor: int) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self.path = path

    def append(self, data: bytes) -> bool:
        """Write all of it; false: there is no room for it. Raises OSError."""
        if not self._folder.take(len(data)):
            return False
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        return True

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._descriptor)
        self._folder.closed(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
