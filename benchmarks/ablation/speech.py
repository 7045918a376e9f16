"""What a look says while variants are compared, and the passage of it that is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...models.contract import ModelInfo
from ...models.pocket.evaluation.evaluation_set import QualitySet

# the passage that is under way so long after the start is the one that is measured
FIRST_S = 5.0
_MINUTE_S = 60.0
# what a look without speech is watched for, and the time at which that begins
_WATCHED_S = 4.0


@dataclass(frozen=True, slots=True)
class Speech:
    """`audio` is said over and over, every `period` chunks; the passage is one clip of it.

    It begins with chunk `first` and takes `length` chunks. `gap` is its true lip gap [T] and
    `spread` how far that read; None where nothing is said.
    """

    audio: np.ndarray
    period: int
    first: int
    length: int
    gap: Tensor | None = None
    spread: float = 1.0

    def marks(self, chunks: int, info: ModelInfo) -> dict[str, int]:
        """First chunks of the passage as it is heard soonest, after a minute, and at the end.

        Named by seconds. All are the same words, so that only time differs.
        """
        wanted = {f"{FIRST_S:g}": self.first + self.length}
        for seconds in (_MINUTE_S, chunks * info.chunk_us / 1e6):
            wanted[f"{seconds:.0f}"] = _chunks(seconds, info)
        found: dict[str, int] = {}
        for name, end in wanted.items():
            start = self._last_before(end)
            if end <= chunks and start not in found.values():
                found[name] = start
        return found

    def _last_before(self, end: int) -> int:
        turns = max(0, (end - self.length - self.first) // self.period)
        return self.first + turns * self.period


def speech_of(reference: QualitySet, look: int, info: ModelInfo) -> Speech:
    """The held-out clips of a look, one after another."""
    clips = reference.speech_of(look)
    if not clips:
        length = _chunks(_WATCHED_S, info)
        return Speech(np.zeros(0, np.int16), length, length, length)
    begins, pieces, place = [], [], 0
    for clip in clips:
        chunks = -(-len(clip.audio) // info.chunk_samples)
        pieces.append(np.pad(clip.audio, (0, chunks * info.chunk_samples - len(clip.audio))))
        begins.append(place)
        place += chunks
    at = _chunks(FIRST_S, info) % place
    chosen = max(k for k, begin in enumerate(begins) if begin <= at)
    clip = clips[chosen]
    length = len(clip.gap) // info.chunk_frames
    return Speech(np.concatenate(pieces), place, begins[chosen], length, clip.gap, clip.spread)


def _chunks(seconds: float, info: ModelInfo) -> int:
    return round(seconds * 1e6 / info.chunk_us)
