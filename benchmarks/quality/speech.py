"""Lip-sync, opening, closing and liveliness of avatars that say held-out speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ...models.pocket.audio import SAMPLE_RATE
from ...models.pocket.evaluation.evaluation_set import QualitySet
from ...models.pocket.evaluation.signals import (
    QUIET,
    agreement,
    best_lag,
    close_times_ms,
    loudness,
    motion,
)
from ...models.pocket.evaluation.watch import Watch

# a mouth counts as closed below this share of the way from closed to open
CLOSED_SHARE = 0.3
_SILENCE_S = 0.8
_SHARED_FRAMES = 20


@dataclass(slots=True)
class Speech:
    """What was read from the frames of all clips."""

    by_look: dict[str, list[float]] = field(default_factory=dict)
    amplitude: dict[str, list[float]] = field(default_factory=dict)
    motion: dict[str, list[float]] = field(default_factory=dict)
    close_ms: list[float] = field(default_factory=list)
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    speaking: list[Tensor] = field(default_factory=list)

    def wrong_audio(self) -> float | None:
        """Agreement of every reading with the truth of all other speech, while both are spoken.

        Pauses are left out: clips begin with one, and in it every mouth is closed, so that even
        the truths agree. None if no two clips speak at once.
        """
        scores = []
        for k, (read, _) in enumerate(self.pairs):
            for other, (_, true) in enumerate(self.pairs):
                both = self.speaking[k] & self.speaking[other]
                if k != other and int(both.sum()) >= _SHARED_FRAMES:
                    scores.append(agreement(read[both], true[both]))
        return float(np.mean(scores)) if scores else None

    def lag(self) -> int:
        """Frames by which the lips are late."""
        return best_lag(self.pairs)


def measure_speech(watch: Watch, reference: QualitySet, looks: Sequence[int]) -> Speech:
    """Let every look say its held-out clips."""
    result, info = Speech(), watch.model.info
    for look in looks:
        entry = reference.looks[look]
        closed_below = entry.closed + CLOSED_SHARE * (entry.opened - entry.closed)
        for clip in reference.speech_of(look):
            silence = np.zeros(round(_SILENCE_S * SAMPLE_RATE), np.int16)
            audio = np.concatenate([clip.audio, silence])
            # what moves by itself differs from clip to clip, as it does in the real ones
            frames = watch.speak(entry.name, audio, seed=len(result.pairs))
            read = reference.mouth(frames)
            said = read[: len(clip.gap)]
            level = loudness(audio, info.fps, SAMPLE_RATE)
            result.pairs.append((said, clip.gap))
            result.speaking.append(torch.from_numpy(level[: len(said)] >= QUIET))
            result.by_look.setdefault(entry.name, []).append(agreement(said, clip.gap))
            spread = float(said.std()) / clip.spread
            result.amplitude.setdefault(entry.name, []).append(spread)
            moved = motion(frames[: len(clip.gap)]) / entry.motion
            result.motion.setdefault(entry.name, []).append(moved)
            result.close_ms += close_times_ms(read, level, closed_below, info.fps)
    return result
