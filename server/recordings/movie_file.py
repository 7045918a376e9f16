"""A film in a folder that is never larger than it may be, as a muxer wants a file."""

from __future__ import annotations

import errno
import io
import os

from ..bounded_folder import BoundedFile


class MovieFile(io.RawIOBase):
    """Writes through to `file`; raises OSError where there is no more room."""

    def __init__(self, file: BoundedFile) -> None:
        self._file = file
        self._at = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        self._at = base + offset
        return self._at

    def write(self, data: bytes) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """All of it. Raises OSError."""
        if not self._file.put(self._at, bytes(data)):
            raise OSError(errno.ENOSPC, "the folder has no more room", str(self._file.path))
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Nothing more is written."""
        if not self.closed:
            super().close()
            self._file.close()
