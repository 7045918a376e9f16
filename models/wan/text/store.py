"""Embeddings on disk by text and model, for their owner alone and never more than so many bytes.

Free of torch: it keeps bytes, and says what it has.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 256 * 2**20
_SAMPLE = 2**20


@dataclass(frozen=True, slots=True)
class TextStore:
    """A folder of files named by digests: a prompt is in none of the names.

    `model` is what tells one encoder from another (`fingerprint`). The oldest use goes first when
    `max_bytes` are reached.
    """

    folder: Path
    model: str
    max_bytes: int = MAX_BYTES

    def key(self, text: str) -> str:
        """The name of what is kept for `text`."""
        return hashlib.sha256(f"{self.model}\0{text}".encode()).hexdigest()

    def has(self, text: str) -> bool:
        """Whether something is kept for it."""
        return self._file(text).exists()

    def get(self, text: str) -> bytes | None:
        """What is kept for it, which counts as use."""
        file = self._file(text)
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            return None
        # so that it is not the next one to go
        with contextlib.suppress(OSError):
            file.touch()
        return data

    def put(self, text: str, data: bytes) -> None:
        """Keep it, whole or not at all; what was used longest ago makes room.

        Raises OSError where the folder cannot be written.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._make_room(len(data))
        half_written = self.folder / f".{secrets.token_hex(8)}"
        descriptor = os.open(half_written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            half_written.replace(self._file(text))
        except BaseException:
            half_written.unlink(missing_ok=True)
            raise

    def _file(self, text: str) -> Path:
        return self.folder / self.key(text)

    def _make_room(self, coming: int) -> None:
        """Remove files until `coming` bytes fit; another process may remove some as well."""
        kept: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                about = path.stat()
                kept.append((about.st_mtime, about.st_size, path))
        total = coming + sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size


def default_folder() -> Path:
    """Where the user's embeddings are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(base).expanduser() / "rollcast" / "text"


def fingerprint(files: tuple[Path, ...], *more: object) -> str:
    """What tells an encoder from another: size, beginning and end of its files, and `more`."""
    digest = hashlib.sha256(repr(more).encode())
    for path in files:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest.update(f"{path.name} {size}".encode())
            file.seek(0)
            digest.update(file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
