"""Memory that an executor and its stages share for the frames of chunks on one machine.

A file without a name: it is gone with the last process that has it, however those end. Slots are
used in turns by the one stage that decodes. The executor counts in the file what it has copied out,
so that no slot is written before it was read; where none is free frames are sent another way.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile

import numpy as np

_HEAD_BYTES = 64


class FrameArena:
    """Room for `slots` chunks of `slot_bytes`; `fd` is inherited by the stages."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None
        self._slots = 0
        self._written = 0

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
        os.ftruncate(self.fd, _HEAD_BYTES + slots * slot_bytes)
        self.open(slots)
        self._taken[0] = 0

    def open(self, slots: int) -> None:
        """Take part in the room that the other end made."""
        self._unmap()
        self._slots, self._written = slots, 0
        self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size)

    def write(self, frames: np.ndarray) -> int | None:
        """Put uint8 frames into the next slot; its number.

        None if they do not fit or that slot was not read yet.
        """
        if self._map is None or frames.nbytes > self._slot_bytes:
            return None
        if self._written - int(self._taken[0]) >= self._slots:
            return None
        slot = self._written % self._slots
        self._written += 1
        self._at(slot, frames.shape)[:] = frames
        return slot

    def read(self, slot: int, shape: tuple[int, ...]) -> np.ndarray:
        """A copy of the frames in a slot, which is free from then on.

        Slots are read in the order in which they were written. Raises ValueError for what is not
        in the arena.
        """
        fits = self._map is not None and min(shape) > 0 and math.prod(shape) <= self._slot_bytes
        if not fits or slot != int(self._taken[0]) % self._slots:
            raise ValueError(f"no frames {shape} in slot {slot} of {self._slots}")
        frames = self._at(slot, shape).copy()
        self._taken[0] += 1
        return frames

    def close(self) -> None:
        """Give it back."""
        self._unmap()
        os.close(self.fd)

    @property
    def _slot_bytes(self) -> int:
        assert self._map is not None, "make room or open it first"
        return (len(self._map) - _HEAD_BYTES) // max(1, self._slots)

    @property
    def _taken(self) -> np.ndarray:
        """How many chunks were read; written by the executor alone, uint64 [1]."""
        assert self._map is not None, "make room or open it first"
        return np.ndarray(1, np.uint64, buffer=self._map)

    def _at(self, slot: int, shape: tuple[int, ...]) -> np.ndarray:
        assert self._map is not None, "make room or open it first"
        offset = _HEAD_BYTES + slot * self._slot_bytes
        return np.ndarray(shape, np.uint8, buffer=self._map, offset=offset)

    def _unmap(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
