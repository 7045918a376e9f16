"""Speech from one sample rate to another, piece by piece."""

from __future__ import annotations

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler


class Resampler:
    """Int16 mono from `given` to `wanted` samples per second; it holds a millisecond back."""

    def __init__(self, given: int, wanted: int) -> None:
        self.given, self.wanted = given, wanted
        self._resampler: AudioResampler | None = None

    def convert(self, samples: np.ndarray) -> np.ndarray:
        """The next samples, int16 [n], as int16 [about n * wanted / given]."""
        if self.given == self.wanted or not len(samples):
            return samples
        if self._resampler is None:
            self._resampler = AudioResampler(format="s16", layout="mono", rate=self.wanted)
        plain = np.ascontiguousarray(samples, np.int16)[None]
        frame = AudioFrame.from_ndarray(plain, format="s16", layout="mono")
        frame.sample_rate = self.given
        return self._joined(self._resampler.resample(frame))

    def rest(self) -> np.ndarray:
        """What was held back; what is converted next is another utterance."""
        if self._resampler is None:
            return np.zeros(0, np.int16)
        rest = self._joined(self._resampler.resample(None))
        self._resampler = None
        return rest

    def _joined(self, frames: list[AudioFrame]) -> np.ndarray:
        pieces = [frame.to_ndarray()[0] for frame in frames]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
