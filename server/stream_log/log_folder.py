"""The folder that logs of streams are written to."""

from __future__ import annotations

from pathlib import Path

from ..bounded_folder import BoundedFile, BoundedFolder
from .records import MAGIC, SUFFIX


class LogFolder(BoundedFolder):
    """Holds at most `most_bytes` of logs. Raises OSError where it cannot be written."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        super().__init__(path, most_bytes, (SUFFIX,))

    def begin(self, name: str) -> BoundedFile:
        """A new log, with what names it as one. Raises OSError."""
        file = self.new(f"{name}{SUFFIX}")
        file.append(MAGIC)
        return file

    def log_of(self, stream: str) -> Path | None:
        """The log that was made for this stream, if it is still there."""
        # names of streams have no marks that mean something in a pattern
        return self.find(f"*-{stream}{SUFFIX}")
