"""Sound on the wire: samples as they are or Opus, both ways."""

from __future__ import annotations

import math

import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet as CodecPacket

from .errors import ProtocolError
from .messages import AudioCodec
from .wire import OPUS_RATE, Packet

OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
OPUS_KBPS = 32


class SoundDecoder:
    """Payloads of one stream, in order, to int16 mono at `rate` samples per second."""

    def __init__(self, codec: AudioCodec, rate: int) -> None:
        self._decoder = _opus("r", OPUS_RATE) if codec == "opus" else None
        self.rate = rate if self._decoder is None else OPUS_RATE

    def decode(self, packet: Packet) -> tuple[np.ndarray, float]:
        """The samples, int16 [n], and when the first is heard: no earlier than the stream begins.

        Raises ProtocolError for what is no sound.
        """
        if self._decoder is None:
            return np.frombuffer(packet.payload, "<i2").astype(np.int16), packet.pts_us
        try:
            frames = self._decoder.decode(CodecPacket(packet.payload))
        except FFmpegError as error:
            raise ProtocolError("a packet of sound is no Opus") from error
        pieces = [frame.to_ndarray()[0] for frame in frames]
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        early = max(0, math.ceil(-packet.pts_us * self.rate / 1e6))
        return samples[early:], packet.pts_us + early * 1e6 / self.rate


class OpusEncoder:
    """Int16 mono at one of `OPUS_RATES` to a packet for every 20 ms."""

    def __init__(self, rate: int) -> None:
        """Raises ValueError for a rate that Opus has not."""
        if rate not in OPUS_RATES:
            raise ValueError(f"Opus is made of {OPUS_RATES} samples per second, got {rate}")
        self._encoder = _opus("w", rate)
        self._rate = rate
        self._count = 0

    def encode(self, samples: np.ndarray) -> bytes:
        """The packet of int16 [20 ms]."""
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._rate, self._count
        self._count += len(samples)
        return b"".join(map(bytes, self._encoder.encode(frame)))


def _opus(mode: str, rate: int) -> AudioCodecContext:
    context = CodecContext.create("libopus", "w" if mode == "w" else "r")
    if not isinstance(context, AudioCodecContext):
        raise ProtocolError("there is no Opus codec")
    context.sample_rate, context.layout = rate, "mono"
    if mode == "w":
        context.format, context.bit_rate = "s16", OPUS_KBPS * 1000
        context.options = {"application": "voip"}
    return context
