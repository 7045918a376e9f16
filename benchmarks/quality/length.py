"""What time does to a stream: sharpness, motion and identity after a second and after minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ...models.pocket.evaluation.evaluation_set import QualitySet, SetLook
from ...models.pocket.evaluation.signals import motion, sharpness, to_signed
from ...models.pocket.evaluation.watch import Watch

# As long as the held-out speech of a look, which is said over and over: all of it falls into every
# window, as it does into the real frames that a window is compared with.
_WINDOW_S = 12.0
# when the windows begin: each ends at most at the time that names it, but for the first
WINDOWS_S = {"s1": 1.0, "s60": 60 - _WINDOW_S, "s1800": 1800 - _WINDOW_S}
_SHORTEST_S = WINDOWS_S["s1"] + _WINDOW_S
_MOST_GLANCES = 120


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
    """Stream all looks for `minutes` of media, and watch windows of it."""
    result = Length()
    if not looks:
        return result
    seconds = max(60 * minutes, _SHORTEST_S)
    chunk_s = watch.model.info.chunk_us / 1e6
    count = round(seconds / chunk_s)
    windows = {n: s for n, s in WINDOWS_S.items() if s + _WINDOW_S <= seconds + 1e-6}
    every = max(1, round(max(1.0, seconds / _MOST_GLANCES) / chunk_s))
    names = [reference.looks[look].name for look in looks]
    speeches = [np.concatenate([c.audio for c in reference.speech_of(look)]) for look in looks]
    kept = {name: [list[np.ndarray]() for _ in looks] for name in windows}
    last: list[list[np.ndarray]] = [[] for _ in looks]
    times: list[float] = []

    def inside(k: int) -> list[str]:
        return [n for n, begin_s in windows.items() if begin_s <= k * chunk_s < begin_s + _WINDOW_S]

    def seen(k: int) -> bool:
        return k % every == 0 or bool(inside(k))

    for k, chunks in watch.side_by_side(names, speeches, count, seen):
        for place, chunk in enumerate(chunks):
            for name in inside(k):
                kept[name][place].append(chunk.frames)
            if k % every == 0:
                last[place].append(chunk.frames[-1])
        if k % every == 0:
            times.append(k / count)
    still = _own_features(watch, reference)
    for place, look in enumerate(looks):
        pieces = {name: by_look[place] for name, by_look in kept.items()}
        _compare(reference.looks[look], pieces, result)
        _recognise(reference, look, still, times, np.stack(last[place]), result)
    return result


def _compare(entry: SetLook, pieces: dict[str, list[np.ndarray]], result: Length) -> None:
    """Windows of a look with its real frames."""
    for name, chunks in pieces.items():
        frames = to_signed(np.concatenate(chunks))
        whole, mouth = sharpness(frames)
        result.whole.setdefault(name, {})[entry.name] = whole / entry.sharpness
        result.mouth.setdefault(name, {})[entry.name] = mouth / entry.mouth_sharpness
        result.motion.setdefault(name, {})[entry.name] = motion(frames) / entry.motion


def _recognise(
    reference: QualitySet,
    look: int,
    still: torch.Tensor,
    times: Sequence[float],
    frames: np.ndarray,
    result: Length,
) -> None:
    """How far `frames`, seen at shares `times` of the stream, are from who it began with."""
    seen = reference.faces.features(to_signed(frames))
    distances = (seen - still[look]).norm(dim=1).numpy()
    apart = _nearest_other(reference, look, still)
    name = reference.looks[look].name
    result.margin[name] = apart / max(1e-6, float(distances.mean()))
    # change over the whole stream, as a share of the distance to the next person
    result.slope[name] = float(np.polyfit(times, distances, 1)[0]) / apart


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
