"""Lip-sync of avatars that say held-out words of other languages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.pocket.evaluation.evaluation_set import QualitySet
from ...models.pocket.evaluation.signals import agreement
from ...models.pocket.evaluation.watch import Watch

HELD_OUT, KNOWN = "held out", "known"
"""Voices that training had not, and voices that it had."""


def measure_languages(
    watch: Watch, reference: QualitySet, looks: Sequence[int]
) -> dict[str, dict[str, float]]:
    """By language, and by whether its voice is held out: agreement with the true lip gaps.

    Empty if the set has no speech of these looks in another language.
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for k, clip in enumerate(reference.foreign(looks)):
        name = reference.looks[clip.look].name
        read = reference.mouth(watch.speak(name, clip.audio, seed=k))[: len(clip.gap)]
        voices = scores.setdefault(clip.language, {})
        voices.setdefault(KNOWN if clip.known_voice else HELD_OUT, []).append(
            agreement(read, clip.gap)
        )
    return {
        language: {voice: float(np.mean(each)) for voice, each in voices.items()}
        for language, voices in scores.items()
    }
