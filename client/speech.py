"""Speech on its way to the server: samples cut into numbered packets on one clock."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .messages import AudioCodec
from .sound import OpusEncoder
from .wire import speech_packet

PACKETS_PER_S = 50


class SpeechFeed:
    """Numbers the samples of one stream, `rate` a second, and cuts them into packets of 20 ms.

    `block` of them are sent at a time when pacing. As Opus only whole packets are made: what is
    over waits for more, or for `rest`.
    """

    def __init__(self, rate: int, codec: AudioCodec = "pcm") -> None:
        """Raises ValueError for a rate that the codec has not."""
        self.rate = rate
        self.block = rate // 10
        self._opus = OpusEncoder(rate) if codec == "opus" else None
        self._waiting = np.zeros(0, np.int16)
        self._seq = 0
        self._sample = 0

    def packets(self, samples: np.ndarray) -> Iterator[bytes]:
        """The samples as binary messages of at most 20 ms.

        Raises ValueError unless they are int16 [n].
        """
        if samples.dtype != np.int16 or samples.ndim != 1:
            raise ValueError(
                f"speech is int16 mono, got {samples.dtype} of shape {list(samples.shape)}; "
                "convert it with load_speech or (32767 * x).astype(numpy.int16)"
            )
        length = self.rate // PACKETS_PER_S
        if self._opus is not None:
            samples = np.concatenate((self._waiting, samples))
            whole = len(samples) - len(samples) % length
            samples, self._waiting = samples[:whole], samples[whole:]
        for begin in range(0, len(samples), length):
            yield self._packet(samples[begin : begin + length])

    def rest(self) -> list[bytes]:
        """What waits, filled up with silence."""
        if not len(self._waiting):
            return []
        rest = np.pad(self._waiting, (0, self.rate // PACKETS_PER_S - len(self._waiting)))
        self._waiting = self._waiting[:0]
        return [self._packet(rest)]

    def _packet(self, samples: np.ndarray) -> bytes:
        plain = np.ascontiguousarray(samples, "<i2")
        payload = plain.tobytes() if self._opus is None else self._opus.encode(plain)
        packet = speech_packet(payload, self._sample, self._seq, self.rate)
        self._seq += 1
        self._sample += len(samples)
        return packet
