"""A WebRTC peer's microphone, for benchmarks and tests: silence, and what it is given to say."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack

RATE = 48_000
BLOCK = RATE // 50


class Microphone(MediaStreamTrack):
    """Silence in real time, and what `say` adds to it."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._said = np.zeros(0, np.int16)
        self._block = 0
        self._begin_s: float | None = None

    def say(self, samples: np.ndarray) -> None:
        """Say this next, int16 [n] at 48 kHz."""
        self._said = np.concatenate((self._said, samples))

    def hush(self) -> None:
        """Say no more of it."""
        self._said = np.zeros(0, np.int16)

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms, when they are over."""
        now_s = asyncio.get_running_loop().time()
        self._begin_s = self._begin_s or now_s
        await asyncio.sleep(max(0.0, self._begin_s + self._block / 50 - now_s))
        piece, self._said = self._said[:BLOCK], self._said[BLOCK:]
        samples = np.pad(piece, (0, BLOCK - len(piece)))
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = self._block * BLOCK
        self._block += 1
        return frame
