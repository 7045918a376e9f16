"""A file written while it happens: nothing is replaced unasked, nothing that came is lost."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class OutputError(OSError):
    """A file cannot be written; the message names it and says why."""


class OutputFile:
    """A new file that is open for writing, or with `overwrite` an existing one.

    The name is claimed at once, so that what speaks against it is said before anything is made. An
    existing file keeps what it has until the first byte is written, and a new one that stays empty
    is removed at the end. Every byte goes to the system at once, so that it outlives the process.

    To be used as a context manager. Raises OutputError where it cannot be written: it exists, is a
    folder, is in none, is too long a name, or its disk is full or read-only. After that, whatever
    else is written is dropped, so that what came before stays as it is.
    """

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._is_new = not (overwrite and self.path.exists())
        try:
            self._file = self.path.open("x+b" if self._is_new else "r+b", buffering=0)
            mode = os.fstat(self._file.fileno()).st_mode
        except FileExistsError as error:
            raise OutputError(f"{self.path} is there already") from error
        except (OSError, ValueError) as error:
            raise self._failure(error) from error
        if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
            self._file.close()
            raise OutputError(f"cannot write {self.path}: it is no file that can be rewritten")
        self._untouched = True
        self.failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, data: bytes) -> int:
        """Write all of it. Raises OutputError the first time that this cannot be done."""
        if self.failed:
            return len(data)
        try:
            self._forget_old()
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.failed = True
            raise self._failure(error) from error
        return len(data)

    def read(self, count: int = -1) -> bytes:
        """Bytes from the present place on."""
        return self._file.read(count) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The present place in the file."""
        return self._file.tell()

    def seekable(self) -> bool:
        """True: `seek` works."""
        return True

    def cut(self, size: int) -> None:
        """Keep only the first `size` bytes."""
        with suppress(OSError):
            self._file.truncate(size)

    def discard(self) -> None:
        """Keep nothing of what was written."""
        if not self._untouched:
            self.cut(0)
        self._untouched = True

    def close(self) -> None:
        """Close it, and remove it if it is new and nothing came."""
        if self._file.closed:
            return
        self._file.close()
        if self._is_new and self._untouched:
            self.path.unlink(missing_ok=True)

    def _forget_old(self) -> None:
        if self._untouched:
            self.cut(0)
            self._untouched = False

    def _failure(self, error: Exception) -> OutputError:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, FileNotFoundError):
            why = f"there is no folder {self.path.parent}"
        return OutputError(f"cannot write {self.path}: {why}")
