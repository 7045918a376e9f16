"""Flow of a scene's things, told apart: what was averaged over an edge names no motion at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rollcast.models.pocket.motion import SceneObject

_MOVING = 0.25  # px; what moves less stands still
_REACH = 2.0  # radii around a thing's centre that may show it
_LEAST_SHARE = 0.1


def rigid_flow(
    flow: np.ndarray,
    clip: Mapping[str, np.ndarray],
    things: Sequence[SceneObject],
    way: np.ndarray | None = None,
) -> np.ndarray:
    """Fine flow [T, n, n, 2] px of a scene with every moving cell's flow that of one thing.

    A rendered cell at a thing's edge holds a mean of its flow and of the ground's, which is none.
    Things are rigid, and three track points say how each has moved: a moving cell gets the flow
    of that thing near it of which what it holds may be a part. `clip` has `tracks` [T, K, 2],
    `track_ref` and `track_object`; `things` are what moves in it. `way` [T, 2] is that of a camera,
    which `flow` is without.
    """
    frames, size = flow.shape[:2]
    pixel = 2 * np.mgrid[:size, :size][::-1].transpose(1, 2, 0) + 1.0  # cells are two pixels wide
    pixel = pixel * (clip["frames"].shape[2] / (2 * size))
    best = np.full((frames, size, size), np.inf, np.float32)
    told = flow.astype(np.float32)
    held = told.copy()
    moving = np.abs(held).max(-1) > _MOVING
    for k, thing in enumerate(things):
        points = np.flatnonzero(clip["track_object"] == k)[:2]
        here, home = clip["tracks"][:, points], clip["track_ref"][points]
        angle = _angle(here[:, 1] - here[:, 0]) - _angle(home[1] - home[0])
        for t in range(frames):
            away = np.hypot(*(pixel - here[t, 0]).transpose(2, 0, 1))
            near = moving[t] & (away < _REACH * thing.radius)
            at, mixed = pixel[near], held[t][near]
            own = _turned(at - here[t, 0], -angle[t]) + home[0] - at
            if way is not None:
                own = own - way[t]
            share = (mixed * own).sum(-1) / np.maximum((own * own).sum(-1), 1e-6)
            share = np.clip(share, _LEAST_SHARE, 1)
            missed = np.hypot(*(mixed - share[:, None] * own).T)
            better = missed < best[t][near]
            rows = np.flatnonzero(near.ravel())[better]
            best[t].reshape(-1)[rows] = missed[better]
            told[t].reshape(-1, 2)[rows] = own[better]
    return told


def _angle(vectors: np.ndarray) -> np.ndarray:
    return np.arctan2(vectors[..., 1], vectors[..., 0])


def _turned(vectors: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    x, y = vectors.T
    return np.stack([c * x - s * y, s * x + c * y], 1)
