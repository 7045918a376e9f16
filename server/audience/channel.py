"""One encoding of a stream for all who can take it: what is encoded next, and who is given it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...models.contract import ModelInfo
from ..protocol.fields import AudioCodec, Codec
from ..protocol.limits import MIN_KBPS
from ..protocol.packets import is_key
from ..session.media import AudioPiece, VideoFrame
from ..session.quality import Quality
from .seat import Coded, Seat
from .tap import Tap

KEY_EVERY_S = 0.5
"""Between two key frames that are made for newcomers; who comes meanwhile shares the next."""
MOST_CHUNKS = 3
"""Of raw frames that wait to be encoded; of more the oldest are left out."""

Piece = AudioPiece | VideoFrame


@dataclass(frozen=True, slots=True)
class Format:
    """How a viewer takes pictures and sound; None: no sound."""

    codec: Codec
    audio_codec: AudioCodec | None


class Channel:
    """What a `PacketEncoder` encodes for: pictures of full size at one bitrate, and their sound."""

    def __init__(self, info: ModelInfo, format_: Format, kbps: int) -> None:
        self.info = info
        self.format = format_
        self.codec: Codec = format_.codec
        self.encoder: str | None = None
        self.audio_codec: AudioCodec | None = format_.audio_codec
        self.size = info.width, info.height
        self.target_kbps = self._most_kbps = kbps
        self.generation = 0
        self.skipped_frames = 0
        """Frames that were never encoded, for the encoder fell behind."""
        self.seats: list[Seat | Tap] = []
        self.wake: Callable[[], None] = _nothing
        """Called when there is something to encode, or nobody left to encode for."""
        self._frame_every = 1
        """Of so many frames one is encoded."""
        self._pieces: deque[Piece] = deque()
        self._key_wanted = False
        self._key_s = -math.inf
        self._audio_seq = 0

    # For whoever generates.

    def show(self, pieces: Iterable[Piece]) -> None:
        """More media; a frame that is left out here breaks no reference."""
        self._pieces.extend(
            each
            for each in pieces
            if not isinstance(each, VideoFrame) or each.seq % self._frame_every == 0
        )
        over = sum(isinstance(each, VideoFrame) for each in self._pieces)
        over -= MOST_CHUNKS * self.info.chunk_frames
        while over > 0:
            over -= self._leave_out()
        self.wake()

    def change_quality(self, quality: Quality) -> None:
        """Encode for as much less as this, from the next frame on."""
        busy = quality.bitrate_share < 1
        self.target_kbps = max(MIN_KBPS, round(self._most_kbps * quality.bitrate_share))
        self._frame_every = max(2 if busy else 1, quality.economy.frame_every)

    # For the encoder.

    def next_piece(self, now_s: float) -> Piece | None:
        """What to encode next."""
        if not self._pieces:
            return None
        wanted = any(seat.wants_key(now_s) for seat in self.seats)
        if isinstance(self._pieces[0], VideoFrame) and wanted and now_s >= self._key_s:
            self._key_wanted, self._key_s = True, now_s + KEY_EVERY_S
        return self._pieces.popleft()

    def take_key_request(self) -> bool:
        """Whether the frame that is about to be encoded has to be a key frame."""
        wanted, self._key_wanted = self._key_wanted, False
        return wanted

    def take_audio_seq(self) -> int:
        """The seq of the audio packet that is about to be sent."""
        seq, self._audio_seq = self._audio_seq, self._audio_seq + 1
        return seq

    def begin_generation(self) -> int:
        """What follows comes from another encoder; its number."""
        self.generation += 1
        return self.generation

    def publish(self, piece: Piece, packets: Iterable[bytes], now_s: float) -> None:
        """Give what was made of a piece to everybody; it leaves with `let_go`."""
        is_video = isinstance(piece, VideoFrame)
        seq = piece.seq if isinstance(piece, VideoFrame) else -1
        end_us = piece.pts_us + 1e6 / self.info.fps
        for data in packets:
            coded = Coded(data, seq, end_us, is_video, is_video and is_key(data))
            for seat in self.seats:
                seat.push(coded, now_s)

    def let_go(self) -> None:
        """Let everybody be sent what was published: packets that are made together cost a viewer
        no more than one does."""
        for seat in self.seats:
            seat.let_go()

    def _leave_out(self) -> int:
        dropped = isinstance(self._pieces.popleft(), VideoFrame)
        self.skipped_frames += dropped
        return dropped


def _nothing() -> None: ...
