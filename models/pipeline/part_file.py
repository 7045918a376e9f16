"""A part of a snapshot in memory that processes of one machine share, so that gigabytes of a cache
are written once and never sent.

A file without a name: it is gone with the last process that has it, however those end. The other
process is told where it is and opens it at once (`/proc/PID/fd`, Linux); from then on it lives
without the first.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from collections.abc import Callable, Mapping

from msgspec import Struct

SHARED_BYTES = 1 << 16
"""Parts from this size on are shared rather than sent, where that can be."""


class PartPlace(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a part is: descriptor `fd` of process `pid`, `size` bytes of it."""

    pid: int
    fd: int
    size: int


class PartFile:
    """`size` bytes in an open file, mapped; closed with the last reference to it."""

    def __init__(self, fd: int, size: int) -> None:
        """Takes over `fd`. Raises OSError and ValueError for what cannot be mapped so far."""
        self.size = size
        self._fd = fd
        weakref.finalize(self, os.close, fd)
        if os.fstat(fd).st_size < size or size < 1:
            raise ValueError(f"a file of {os.fstat(fd).st_size} bytes where {size} should be")
        self.view = memoryview(mmap.mmap(fd, size))

    @classmethod
    def create(cls, size: int) -> PartFile:
        """A new one. Raises OSError where there is no memory for it."""
        fd = os.memfd_create("rollcast-snapshot")
        # at once: memory that is not there would end the process later, while it is written
        os.posix_fallocate(fd, 0, size)
        return cls(fd, size)

    @classmethod
    def at(cls, place: PartPlace) -> PartFile:
        """That of another process. Raises OSError when it is gone, ValueError for another size."""
        return cls(
            os.open(f"/proc/{place.pid}/fd/{place.fd}", os.O_RDWR | os.O_CLOEXEC), place.size
        )

    @property
    def place(self) -> PartPlace:
        """For another process, as long as this one has it."""
        return PartPlace(os.getpid(), self._fd, self.size)


Part = memoryview | PartFile
Room = Callable[[int], Part]
"""Gives room for so many bytes: a part to write into."""


def can_share() -> bool:
    """Whether this system has such files."""
    return sys.platform == "linux" and hasattr(os, "memfd_create")


def bytes_of(part: Part) -> memoryview:
    """What is in a part, wherever it is."""
    return part.view if isinstance(part, PartFile) else part


def told(parts: Mapping[str, Part]) -> dict[str, memoryview | PartPlace]:
    """Parts as a message has them: what is shared, by its place."""
    return {name: p.place if isinstance(p, PartFile) else p for name, p in parts.items()}


def opened(parts: Mapping[str, memoryview | PartPlace]) -> dict[str, Part]:
    """The parts that a message tells of. Raises OSError and ValueError as `PartFile.at`."""
    return {name: PartFile.at(p) if isinstance(p, PartPlace) else p for name, p in parts.items()}


def in_message(size: int) -> Part:
    """Room in this process, from where it is sent."""
    return memoryview(bytearray(size))


def pack_bytes(data: bytes, room: Room) -> Part:
    """What a model has already made bytes of. Raises OSError without memory for it."""
    part = room(len(data))
    bytes_of(part)[:] = data
    return part
