"""Generated media on its way out: what a session hands to its connection, and the resume ring."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from msgspec import Struct

from ...models.yuv_frames import Picture, Pictures


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One raw frame: `picture` is uint8 RGB [H, W, 3], or YUV."""

    seq: int
    pts_us: float
    chunk: int
    last_of_chunk: bool
    discontinuity: bool
    server_ms: float
    picture: Picture


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """The sound of a chunk or of its end: int16 [n] at `rate` samples per second."""

    pts_us: float
    chunk: int
    discontinuity: bool
    server_ms: float
    samples: np.ndarray
    rate: int


@dataclass(frozen=True, slots=True)
class MediaChunk:
    """A generated chunk with its place in the stream: `first_seq` frames came before it.

    `audio` is int16 at `sample_rate` samples per second, and as long as the frames last; None: the
    model has no sound.
    """

    index: int
    first_seq: int
    fps: int
    talking: bool
    discontinuity: bool
    server_ms: float
    frames: Pictures
    audio: np.ndarray
    sample_rate: int | None
    step: int = 0
    """Of the executor's, which also counts chunks that were not shown."""
    muted: bool = False

    @property
    def end_seq(self) -> int:
        """The seq of the frame after its last one."""
        return self.first_seq + len(self.frames)

    def pts_us(self, seq: int) -> float:
        """Media time of a frame."""
        return seq * 1e6 / self.fps

    def pieces(self, after_seq: int, audio: bool) -> Iterator[AudioPiece | VideoFrame]:
        """Its sound, then its frames, without those up to `after_seq`."""
        count = len(self.frames)
        skip = min(count, max(0, after_seq + 1 - self.first_seq))
        if skip == count:
            return
        if audio and self.sample_rate is not None and len(self.audio):
            first = self.first_seq * self.sample_rate // self.fps
            start = (self.first_seq + skip) * self.sample_rate // self.fps - first
            yield AudioPiece(
                self.pts_us(self.first_seq + skip),
                self.index,
                self.discontinuity,
                self.server_ms,
                self.audio[start:],
                self.sample_rate,
            )
        for number in range(skip, count):
            yield VideoFrame(
                self.first_seq + number,
                self.pts_us(self.first_seq + number),
                self.index,
                number == count - 1,
                self.discontinuity and number == 0,
                self.server_ms,
                self.frames[number],
            )


class PlaceRecord(Struct, frozen=True):
    """A chunk that is kept but for its media, which can be made again."""

    step: int
    index: int
    first_seq: int
    frames: int
    talking: bool
    discontinuity: bool
    muted: bool
    server_ms: float


class ChunkRing:
    """The newest chunks of a stream, kept raw so that a resumed connection can be sent them.

    At least the newest `min_frames` frames are kept, and no chunk that is not needed for that.
    """

    def __init__(self, min_frames: int) -> None:
        self._min_frames = min_frames
        self._chunks: deque[MediaChunk] = deque()

    @property
    def frames(self) -> int:
        """Frames that are kept."""
        return self._chunks[-1].end_seq - self._chunks[0].first_seq if self._chunks else 0

    @property
    def byte_count(self) -> int:
        """What they have."""
        return sum(_bytes(chunk.frames) + chunk.audio.nbytes for chunk in self._chunks)

    def push(self, chunk: MediaChunk) -> None:
        """Keep a chunk; the oldest make room."""
        self._chunks.append(chunk)
        while self.frames - len(self._chunks[0].frames) >= self._min_frames:
            self._chunks.popleft()

    @property
    def first_seq(self) -> int | None:
        """The oldest frame that is kept; None: none is."""
        return self._chunks[0].first_seq if self._chunks else None

    def record(self) -> list[PlaceRecord]:
        """Which chunks are kept, oldest first."""
        return [
            PlaceRecord(
                step=chunk.step,
                index=chunk.index,
                first_seq=chunk.first_seq,
                frames=len(chunk.frames),
                talking=chunk.talking,
                discontinuity=chunk.discontinuity,
                muted=chunk.muted,
                server_ms=chunk.server_ms,
            )
            for chunk in self._chunks
        ]

    def after(self, seq: int) -> list[MediaChunk]:
        """The chunks with a frame after `seq`, oldest first."""
        return [chunk for chunk in self._chunks if chunk.end_seq > seq + 1]

    def talking_at(self, position_us: float) -> bool:
        """Whether the chunk on the screen carries speech; the last one stays there at its end."""
        begun = [chunk for chunk in self._chunks if chunk.pts_us(chunk.first_seq) <= position_us]
        return begun[-1].talking if begun else False

    def mute_from(self, position_us: float) -> None:
        """Silence what starts at or after this media time."""
        for place, chunk in enumerate(self._chunks):
            if chunk.pts_us(chunk.first_seq) >= position_us:
                self._chunks[place] = mute(chunk)

    def clear(self) -> None:
        """Free everything."""
        self._chunks.clear()


def _bytes(frames: Pictures) -> int:
    if isinstance(frames, np.ndarray):
        return frames.nbytes
    # three bytes for two pixels
    return len(frames) * frames.height * frames.width * 3 // 2


def mute(chunk: MediaChunk) -> MediaChunk:
    """The chunk without its sound."""
    silence = np.zeros_like(chunk.audio)
    return replace(chunk, audio=silence, talking=False, discontinuity=True, muted=True)
