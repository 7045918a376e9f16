"""A client's audio to the model's sample rate, packet by packet without a seam."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from msgspec import Struct

MEMORY = 512
"""Samples of the past on which what the filter gives next depends, at most: it has 2.5 ms of them
at 48 kHz, and at 8 kHz the more of its own rate."""


class ResamplerRecord(Struct, frozen=True):
    """A resampler in the middle of an utterance: what it took and gave, and its newest samples."""

    taken: int
    given: int
    newest: np.ndarray


class Resampler:
    """Int16 mono at `from_rate` samples per second in, at `to_rate` out.

    Pieces of an utterance join as if they had been one: the filter holds back the newest 1 to 2.5
    ms until more comes or `finish` is called. Then `n` samples have become `converted(n)`, in
    place. At equal rates samples pass as they are, at once.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._from_rate = from_rate
        self._to_rate = to_rate
        self._filter: AudioResampler | None = None
        self._taken = self._given = 0
        self._last = 0
        """The newest sample that came in."""
        self._step = from_rate // gcd(from_rate, to_rate)
        """So many samples become a whole number of them."""
        self._newest = np.zeros(0, np.int16)

    @property
    def in_utterance(self) -> bool:
        """Whether the filter holds something back that `finish` would give."""
        return self._filter is not None

    def converted(self, samples: int) -> int:
        """As how many samples so many come out, rounded to the nearest."""
        return (2 * samples * self._to_rate + self._from_rate) // (2 * self._from_rate)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """What is ready once int16 [n] were added: int16 [m]."""
        if self._from_rate == self._to_rate or not len(samples):
            return samples
        if self._filter is None:
            self._filter = AudioResampler(format="s16", layout="mono", rate=self._to_rate)
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = self._from_rate
        ready = _joined(self._filter.resample(frame))
        self._taken += len(samples)
        self._newest = np.concatenate((self._newest, samples))[-(MEMORY + self._step) :]
        self._last = int(samples[-1])
        self._given += len(ready)
        return ready

    def finish(self) -> np.ndarray:
        """The rest of the utterance; what is pushed from here on is a new one."""
        if self._filter is None:
            return _joined(())
        rest = _joined(self._filter.resample(None))
        missing = self.converted(self._taken) - self._given
        end = rest[-1] if len(rest) else self._last
        self.reset()
        # The filter may be short by a sample, and gives nothing at all for a handful of them.
        return np.pad(rest, (0, max(0, missing - len(rest))), constant_values=end)[:missing]

    def reset(self) -> None:
        """Forget what is held back."""
        self._filter = None
        self._taken = self._given = 0
        self._newest = self._newest[:0]

    def record(self) -> ResamplerRecord:
        """What another one needs to go on from here."""
        return ResamplerRecord(self._taken, self._given, self._newest)

    def load(self, record: ResamplerRecord) -> None:
        """Go on where another one was: its filter is brought there by the newest samples."""
        self.reset()
        if not record.taken:
            return
        # from where both rates meet, so that the filter has the same phase
        begin = max(0, record.taken - MEMORY) // self._step * self._step
        again = record.newest[-(record.taken - begin) :]
        self.push(again)
        self._taken, self._given, self._newest = record.taken, record.given, record.newest


def _joined(frames: Iterable[AudioFrame]) -> np.ndarray:
    pieces = [frame.to_ndarray()[0] for frame in frames]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
