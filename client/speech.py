"""Speech on its way to the server: samples cut into numbered packets on one clock."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .wire import speech_packet

PACKETS_PER_S = 50


class SpeechFeed:
    """Numbers the samples of one stream, `rate` a second.

    `block` of them are sent at a time when pacing.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.block = rate // 10
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
        data = np.ascontiguousarray(samples, "<i2")
        length = self.rate // PACKETS_PER_S
        for begin in range(0, len(data), length):
            piece = data[begin : begin + length]
            yield speech_packet(piece.tobytes(), self._sample, self._seq, self.rate)
            self._seq += 1
            self._sample += len(piece)
