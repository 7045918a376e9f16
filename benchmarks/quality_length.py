"""What time does to a stream: sharpness, motion and identity after a second and after minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from .quality_set import QualitySet
from .quality_signals import motion, sharpness, to_signed
from .quality_watch import Watch

_WINDOW_S = 4.0
# when the windows begin: each ends at most at the time that names it, but for the first
WINDOWS_S = {"s1": 1.0, "s60": 60 - _WINDOW_S, "s1800": 1800 - _WINDOW_S}
_SHORTEST_S = WINDOWS_S["s1"] + _WINDOW_S


@dataclass(slots=True)
class Length:
    """By window and look: generated over real. Identity distances are in feature space."""

    whole: dict[str, dict[str, float]] = field(default_factory=dict)
    mouth: dict[str, dict[str, float]] = field(default_factory=dict)
    motion: dict[str, dict[str, float]] = field(default_factory=dict)
    slope: dict[str, float] = field(default_factory=dict)
    margin: dict[str, float] = field(default_factory=dict)


def measure_length(
    watch: Watch, reference: QualitySet, looks: Sequence[int], minutes: float
) -> Length:
    """Stream every look for `minutes` of media, and watch windows of it."""
    result = Length()
    seconds = max(60 * minutes, _SHORTEST_S)
    still = _own_features(watch, reference)
    for look in looks:
        _stream(watch, reference, look, seconds, still, result)
    return result


def _stream(
    watch: Watch,
    reference: QualitySet,
    look: int,
    seconds: float,
    still: torch.Tensor,
    result: Length,
) -> None:
    info, entry = watch.model.info, reference.looks[look]
    audio = np.concatenate([clip.audio for clip in reference.speech_of(look)])
    chunk_s = info.chunk_us / 1e6
    windows = {n: s for n, s in WINDOWS_S.items() if s + _WINDOW_S <= seconds + 1e-6}
    kept: dict[str, list[np.ndarray]] = {name: [] for name in windows}
    times, distances = [], []
    next_look_s = 0.0
    for k, chunk in enumerate(watch.chunks(entry.name, audio, round(seconds / chunk_s))):
        now_s = k * chunk_s
        for name, begin_s in windows.items():
            if begin_s <= now_s < begin_s + _WINDOW_S:
                kept[name].append(chunk.frames)
        if now_s >= next_look_s:
            next_look_s += 1.0
            seen = reference.faces.features(to_signed(chunk.frames[-1:]))
            distances.append(float((seen[0] - still[look]).norm()))
            times.append(now_s / seconds)
    for name, pieces in kept.items():
        frames = to_signed(np.concatenate(pieces))
        whole, mouth = sharpness(frames)
        result.whole.setdefault(name, {})[entry.name] = whole / entry.sharpness
        result.mouth.setdefault(name, {})[entry.name] = mouth / entry.mouth_sharpness
        result.motion.setdefault(name, {})[entry.name] = motion(frames) / entry.motion
    apart = _nearest_other(reference, look, still)
    result.margin[entry.name] = apart / max(1e-6, float(np.mean(distances)))
    # change over the whole stream, as a share of the distance to the next person
    result.slope[entry.name] = float(np.polyfit(times, distances, 1)[0]) / apart


def _own_features(watch: Watch, reference: QualitySet) -> torch.Tensor:
    """The features of each look at the very start of a stream [N, 48]."""
    first = [
        next(watch.chunks(look.name, np.zeros(0, np.int16), 1)).frames[:1]
        for look in reference.looks
    ]
    return torch.cat([reference.faces.features(to_signed(frames)) for frames in first])


def _nearest_other(reference: QualitySet, look: int, still: torch.Tensor) -> float:
    person = reference.looks[look].identity
    others = [
        k for k, entry in enumerate(reference.looks) if entry.is_avatar and entry.identity != person
    ]
    return float((still[others] - still[look]).norm(dim=1).min())
