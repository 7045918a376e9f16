"""All measures of a span of clips, and what the truth itself would get."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..reading import Pictures, read_moves, read_pictures
from ..world import CHUNKS, Prompt, sample
from .appearance import appearance, copying, identity
from .behaviour import dynamics, legality, mood_accuracy
from .distances import fixed_frequencies, learned_frequencies, sliced_wasserstein

COLUMNS = (
    "clear", "legal", "wrong", "moves_tv", "entropy", "rarest", "surprise", "motion", "arc",
    "hue_spread", "shape_tv", "palette_accuracy", "mood_accuracy", "hue_drift", "shape_kept",
    "copying", "sliced", "fixed_cf", "learned_cf",
)  # fmt: skip
"""Names of the measures, in the order of tables."""
_AXES = 64
_POINTS = 1024


class Reference:
    """True points that others are compared with: two chunks in a row each, whitened.

    `_points` are compared with; the axes come from clips of their own.
    """

    def __init__(self, clips: int = 512, seed: int = 1001) -> None:
        drawn = [_true_pairs(clips, seed + k) for k in range(2)]
        self._centre = drawn[1].mean(0)
        moved = drawn[1] - self._centre
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _, spread, axes = torch.pca_lowrank(moved, q=_AXES, center=False, niter=4)
        self._axes = axes / (spread / len(moved) ** 0.5)
        self._points = _shuffled(drawn[0], _POINTS)

    def distances(self, latents: Tensor) -> dict[str, float]:
        """How far clips [n, chunks, ...] are from the truth."""
        points = _shuffled(_pairs(latents), _POINTS)
        whitened = [(x - self._centre) @ self._axes for x in (points, self._points)]
        return {
            "sliced": sliced_wasserstein(points, self._points),
            "fixed_cf": fixed_frequencies(*whitened),
            "learned_cf": learned_frequencies(*whitened),
        }


def measure(
    latents: Tensor, prompt: Prompt, reference: Reference | None = None, *, first: int = 0
) -> dict[str, float]:
    """All of `COLUMNS` of clips [n, chunks, 12, 12, 12], from chunk `first` on.

    Without a `reference` no distances. Identity is that of the clip's very first chunk.
    """
    span, begin = latents[:, first:], latents[:, :1]
    pictures = read_pictures(span)
    at_first = _first_chunk(pictures) if first == 0 else read_pictures(begin)
    moves = read_moves(pictures)
    report = {
        "clear": float(pictures.clear.float().mean()),
        **legality(moves),
        **dynamics(moves, prompt.mood),
        **appearance(pictures, prompt.palette),
        "mood_accuracy": mood_accuracy(moves, prompt.mood),
        **identity(pictures, at_first),
        "copying": copying(span, begin),
    }
    return report if reference is None else report | reference.distances(span)


def floor(
    reference: Reference, clips: int, seeds: Sequence[int] = (5, 6, 7), chunks: int = CHUNKS
) -> dict[str, tuple[float, float]]:
    """Mean and spread over seeds of what so many true clips get: nobody can do better."""
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        truth = sample(Prompt.each(clips), chunks, generator)
        span = {"first": max(0, chunks - CHUNKS)}
        rows.append(measure(truth.latents, truth.prompt, reference, **span))
    table = torch.tensor([[row[name] for name in COLUMNS] for row in rows])
    mean, spread = table.mean(0).tolist(), table.std(0).tolist()
    return dict(zip(COLUMNS, zip(mean, spread, strict=True), strict=True))


def _first_chunk(pictures: Pictures) -> Pictures:
    four = slice(0, 4)
    return Pictures(
        pictures.centre[:, four],
        pictures.shape[:, four],
        pictures.hue[:, four],
        pictures.clear[:, four],
    )


def _pairs(latents: Tensor) -> Tensor:
    """Every two chunks in a row as one point [k, D]."""
    return torch.cat([latents[:, :-1], latents[:, 1:]], 2).flatten(0, 1).flatten(1)


def _true_pairs(clips: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return _pairs(sample(Prompt.drawn(clips, generator), CHUNKS, generator).latents)


def _shuffled(points: Tensor, most: int) -> Tensor:
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(1))
    return points[order[:most]]
