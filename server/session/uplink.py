"""The sound that a client sends, from its packets to samples."""

from __future__ import annotations

import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet as CodecPacket

from ..protocol.client_messages import SessionCreate
from ..protocol.errors import InvalidField
from ..protocol.fields import AudioCodec
from ..protocol.limits import AUDIO_RATE, OPUS_RATE
from ..protocol.packets import Packet, check_pcm, samples
from .arrivals import LiveSound
from .resampler import Resampler


def uplink_rate(message: SessionCreate) -> int:
    """Samples per second of what the client will send.

    Raises InvalidField for a rate that its codec has not.
    """
    if message.audio_codec == "pcm":
        return message.audio_rate or AUDIO_RATE
    if message.audio_rate not in (None, OPUS_RATE):
        raise InvalidField(
            f"opus is decoded at {OPUS_RATE} samples per second, whatever it was made from",
            field="audio_rate",
            hint="Leave audio_rate out.",
        )
    return OPUS_RATE


class Uplink:
    """One client's packets in order; Opus has a memory."""

    def __init__(self, codec: AudioCodec, rate: int) -> None:
        self._codec: AudioCodec = codec
        self._rate = rate
        self._decoder: AudioCodecContext | None = None
        self._resampler: Resampler | None = None
        self._resampled_rate = 0

    def samples(self, packet: Packet) -> np.ndarray:
        """A packet's samples, int16 mono [n] at the client's rate.

        Raises InvalidField or TooLarge for a payload that is none.
        """
        if self._codec == "pcm":
            check_pcm(packet, self._rate)
            return samples(packet)
        return self._opus(packet.payload)

    def resampled(self, sound: LiveSound) -> np.ndarray:
        """Sound that came by a way of its own, int16 mono [n] at the client's rate."""
        if self._resampler is None or self._resampled_rate != sound.rate:
            self._resampler = Resampler(sound.rate, self._rate)
            self._resampled_rate = sound.rate
        return self._resampler.push(sound.samples)

    def _opus(self, payload: bytes) -> np.ndarray:
        if self._decoder is None:
            context = CodecContext.create("libopus", "r")
            assert isinstance(context, AudioCodecContext), "libopus decodes sound"
            context.layout, context.sample_rate = "mono", self._rate
            self._decoder = context
        try:
            frames = self._decoder.decode(CodecPacket(payload))
        except FFmpegError as error:
            self._decoder = None
            raise InvalidField(
                "the payload is no Opus packet",
                field="payload",
                hint="Send one Opus packet in each message, without a container.",
            ) from error
        pieces = [frame.to_ndarray()[0] for frame in frames]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
