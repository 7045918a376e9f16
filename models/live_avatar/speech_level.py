"""How loud a voice is, found while it speaks: what normalises a signal whose end is not known.

The published code divides a whole file by its deviation. Here it is that of the speech of the last
seconds, with the pauses between words; longer silence does not count, or the first word behind it
would be a shout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

BLOCK = 320
"""Samples of a block, 20 ms: the level is the same within one."""
_MEMORY = math.exp(-BLOCK / (10.0 * 16_000))
_SILENT = 1e-3**2
_PAUSE_BLOCKS = 25
_USUAL = 0.05**2
_USUAL_BLOCKS = 5.0
# as transformers' feature extractor has it
_FLOOR = 1e-7


@dataclass(slots=True)
class SpeechLevel:
    """The mean square of about the last 10 s of speech, and how many blocks of it there were.

    It begins as a tenth of a second of a voice of usual loudness (-26 dB of full scale). A block
    below -60 dB is silence, and counts for half a second behind speech; `quiet` of them there were.
    """

    power: float = _USUAL
    blocks: float = _USUAL_BLOCKS
    quiet: int = _PAUSE_BLOCKS

    def normalised(self, samples: np.ndarray) -> np.ndarray:
        """float32 of int16 `samples`, whole blocks, with a deviation of about 1 where it speaks."""
        signal = samples.astype(np.float64).reshape(-1, BLOCK) / 32768
        gains = np.empty((len(signal), 1))
        for number, power in enumerate(np.square(signal).mean(axis=1).tolist()):
            self._hear(power)
            gains[number] = 1 / math.sqrt(self.power + _FLOOR)
        return (signal * gains).astype(np.float32).reshape(-1)

    def _hear(self, power: float) -> None:
        self.quiet = 0 if power > _SILENT else min(self.quiet + 1, _PAUSE_BLOCKS)
        if self.quiet < _PAUSE_BLOCKS:
            past = self.blocks * _MEMORY
            self.power = (self.power * past + power) / (past + 1)
            self.blocks = past + 1
