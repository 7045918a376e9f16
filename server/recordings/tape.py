"""The packets of one stream on their way into films: into memory for clips, and to a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..audience.channel import Channel
from ..audience.seat import Coded
from ..audience.tap import Tap
from .clip_ring import ClipRing
from .piece import Piece
from .recording import MovieShape, Recording

WRITE_S = 0.5
"""Between two writes to a file: so much, and a fragment, is lost with the process at most."""
MOST_UNWRITTEN = 64 << 20
"""Bytes that wait for a disk that is too slow, before the recording ends."""


class Tape:
    """Of the packets of `shape.kind`; `failed` is told why a recording ended by itself."""

    def __init__(self, shape: MovieShape, failed: Callable[[str], None]) -> None:
        self.shape = shape
        self.tap = Tap(self._take, self.end)
        self.channel: Channel | None = None
        self.ring: ClipRing | None = None
        self.recording: Recording | None = None
        self._failed = failed
        self._unwritten: list[Piece] = []
        self._bytes = 0
        self._over = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nobody needs its packets."""
        return self.ring is None and self.recording is None

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended."""
        return self._over.is_set()

    def record(self, recording: Recording) -> None:
        """Write what comes from the next key frame on."""
        self.recording = recording
        self._unwritten, self._bytes = [], 0
        self._writer = asyncio.create_task(self._write(recording), name="recording")

    async def stop(self) -> None:
        """End the recording; its file is whole afterwards."""
        self.recording = None
        if self._writer is not None:
            await self._writer

    async def finished(self) -> None:
        """Wait until everything is written behind the end of the stream."""
        self.end()
        if self._writer is not None:
            await self._writer
        self.recording = None

    def _take(self, coded: Coded) -> None:
        piece = Piece.of(coded)
        if self.ring is not None:
            self.ring.push(piece)
        if self.recording is not None:
            self._unwritten.append(piece)
            self._bytes += len(piece.payload)

    def end(self) -> None:
        """Nothing more comes."""
        self._over.set()

    async def over(self) -> None:
        """Wait for that."""
        await self._over.wait()

    async def _write(self, recording: Recording) -> None:
        try:
            while self.recording is recording and not self.is_over:
                try:
                    async with asyncio.timeout(WRITE_S):
                        await self._over.wait()
                except TimeoutError:
                    pass
                if self._bytes > MOST_UNWRITTEN:
                    raise OSError("the disk is too slow")
                await self._flush(recording)
            await self._flush(recording)
            await asyncio.to_thread(recording.close)
        except OSError as error:
            self.recording = None
            await asyncio.to_thread(recording.give_up)
            self._failed(error.strerror or str(error))

    async def _flush(self, recording: Recording) -> None:
        pieces, self._unwritten, self._bytes = self._unwritten, [], 0
        await asyncio.to_thread(recording.write, pieces)
