"""Memory that an executor and its stages share for the frames of chunks on one machine.

A file without a name: it is gone with the last process that has it, however those end. The executor
copies a chunk out before it admits another one that could be written to the same place, so slots
are used in turns and need no lock.
"""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np


class FrameArena:
    """Room for `slots` chunks of `slot_bytes`; `fd` is inherited by the stage that decodes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None
        self._slots = 0

    @classmethod
    def create(cls) -> FrameArena:
        """An empty one. Raises OSError where there is no room for files."""
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("rollcast-frames"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def resize(self, slots: int, slot_bytes: int) -> None:
        """Make room, at the end that created it; what was in it is gone."""
        self._unmap()
        os.ftruncate(self.fd, slots * slot_bytes)
        self.open(slots)

    def open(self, slots: int) -> None:
        """Take part in the room that the other end made."""
        self._unmap()
        self._slots = slots
        size = os.fstat(self.fd).st_size
        self._map = mmap.mmap(self.fd, size) if size else None

    def write(self, number: int, frames: np.ndarray) -> int | None:
        """Put frames where the `number`-th chunk belongs; its slot, None if they do not fit."""
        if self._map is None or frames.nbytes > len(self._map) // self._slots:
            return None
        slot = number % self._slots
        self._at(slot, frames.shape)[:] = frames
        return slot

    def read(self, slot: int, shape: tuple[int, ...]) -> np.ndarray:
        """A copy of the frames in a slot. Raises ValueError for what is not in the arena."""
        fits = self._map is not None and int(np.prod(shape)) <= len(self._map) // self._slots
        if not fits or not 0 <= slot < self._slots:
            raise ValueError(f"no frames {shape} in slot {slot} of {self._slots}")
        return self._at(slot, shape).copy()

    def close(self) -> None:
        """Give it back."""
        self._unmap()
        os.close(self.fd)

    def _at(self, slot: int, shape: tuple[int, ...]) -> np.ndarray:
        assert self._map is not None
        offset = slot * (len(self._map) // self._slots)
        return np.ndarray(shape, np.uint8, buffer=self._map, offset=offset)

    def _unmap(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
