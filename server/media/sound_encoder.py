"""The sound of a stream to the payloads of its packets: samples as they are, or Opus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.codec.context import CodecContext

from ..protocol.fields import AudioCodec
from ..protocol.limits import OPUS_RATE
from ..session.media import AudioPiece
from ..session.resampler import Resampler

OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
OPUS_KBPS = 32
PACKETS_PER_S = 50
DELAY_US = 6_500.0
"""What an Opus decoder gives first is so much of what was before the beginning."""
GAP_US = 1_000.0


@dataclass(frozen=True, slots=True)
class CodedSound:
    """One payload; its first sample, as decoded, is heard at `pts_us`."""

    pts_us: float
    discontinuity: bool
    payload: bytes


class SoundEncoder(Protocol):
    """Pieces in the order of their time, payloads out."""

    def encode(self, piece: AudioPiece) -> list[CodedSound]:
        """What is complete with this piece."""
        ...


class PcmEncoder:
    """Signed 16-bit little-endian samples, a payload for each piece."""

    def encode(self, piece: AudioPiece) -> list[CodedSound]:
        """See `SoundEncoder`."""
        payload = piece.samples.astype("<i2").tobytes()
        return [CodedSound(piece.pts_us, piece.discontinuity, payload)]


class OpusEncoder:
    """Opus packets of 20 ms, across the borders of pieces; what is over waits for the next one."""

    def __init__(self) -> None:
        self._cut = False
        # begun by the first piece
        self._sample_rate, self._length, self._end_us = 0, 1, 0.0
        self._waiting = np.zeros(0, np.int16)

    def encode(self, piece: AudioPiece) -> list[CodedSound]:
        """See `SoundEncoder`."""
        coded: list[CodedSound] = []
        if abs(piece.pts_us - self._end_us) > GAP_US or piece.rate != self._sample_rate:
            coded += self._rest()
            self._begin(piece.pts_us, piece.rate)
        self._cut |= piece.discontinuity
        self._end_us = piece.pts_us + len(piece.samples) * 1e6 / self._sample_rate
        self._waiting = np.concatenate((self._waiting, self._resampler.push(piece.samples)))
        return coded + list(self._complete())

    def _begin(self, pts_us: float, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._rate = sample_rate if sample_rate in OPUS_RATES else OPUS_RATE
        self._length = self._rate // PACKETS_PER_S
        context = CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext), "libopus encodes sound"
        context.sample_rate, context.layout, context.format = self._rate, "mono", "s16"
        context.bit_rate = OPUS_KBPS * 1000
        context.options = {"frame_duration": str(1000 // PACKETS_PER_S), "application": "voip"}
        context.open()
        self._context = context
        self._resampler = Resampler(self._sample_rate, self._rate)
        self._waiting = np.zeros(0, np.int16)
        self._begin_us = self._end_us = pts_us
        self._sent = 0

    def _rest(self) -> Iterator[CodedSound]:
        missing = -len(self._waiting) % self._length
        self._waiting = np.pad(self._waiting, (0, missing))
        yield from self._complete()

    def _complete(self) -> Iterator[CodedSound]:
        while len(self._waiting) >= self._length:
            head, self._waiting = np.split(self._waiting, [self._length])
            frame = AudioFrame.from_ndarray(head[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = self._rate, self._sent
            payload = b"".join(map(bytes, self._context.encode(frame)))
            pts_us = self._begin_us + self._sent * 1e6 / self._rate - DELAY_US
            self._sent += self._length
            yield CodedSound(pts_us, self._cut, payload)
            self._cut = False


def open_sound_encoder(codec: AudioCodec) -> SoundEncoder:
    """A new encoder for one connection."""
    return OpusEncoder() if codec == "opus" else PcmEncoder()
