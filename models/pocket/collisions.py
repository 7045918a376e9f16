"""Things of a scene push each other aside: none ever lies over another.

Whoever drags a thing sees it arrive, and two things that would share a cell of the flow grid, where
only one of them can be told, never do.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np

from .autoencoder import FRAME_SIZE

_ROUNDS = 8
# of a thing's radius, how much of it must stay within the frame
_INSIDE = 0.5
# px, an overlap that the rounds may leave: they come ever closer to none
_LEFT_OVER = 2.0
_TOUCHING = 1e-6


def push_apart(
    position: np.ndarray,
    radius: np.ndarray,
    firm: np.ndarray,
    beyond: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Centres [K, 2] px moved until things of these radii [K] px touch at most, within the frame.

    `firm` [K] things stay where they are; two firm ones may overlap, and so may things that the
    others and the frame's border leave no room. They may be `beyond` px (x, y) outside of it, which
    is as far as a camera can pan to see them.
    """
    moved = position.copy()
    low = inside_by(radius, beyond)
    for _ in range(_ROUNDS):
        shifted = False
        for a in range(len(moved)):
            for b in range(a + 1, len(moved)):
                share = _shares(bool(firm[a]), bool(firm[b]))
                apart = moved[b] - moved[a]
                distance = float(np.hypot(*apart))
                lacks = float(radius[a] + radius[b]) - distance
                if share is None or lacks <= _TOUCHING:
                    continue
                way = apart / distance if distance > 1e-6 else np.array([0.0, 1.0])
                moved[a] -= share[0] * lacks * way
                moved[b] += share[1] * lacks * way
                shifted = True
        if not shifted:
            break
        loose = ~firm[:, None]
        moved = np.where(loose, np.clip(moved, low, FRAME_SIZE - low), moved)
    # Pushed along one line, towards the border or from both sides, a thing never gets out sideways.
    for k in range(len(moved)):
        if not firm[k] and _overlap(moved[k], k, moved, radius) > _LEFT_OVER:
            moved[k] = _nearest_room(position[k], k, moved, radius, low[k])
    return moved


def inside_by(radius: np.ndarray, beyond: tuple[float, float]) -> np.ndarray:
    """How far from the frame's borders centres of things of these radii [K] stay, px [K, 2]."""
    return _INSIDE * radius[:, None] - np.array(beyond)


def _shares(first_is_firm: bool, second_is_firm: bool) -> tuple[float, float] | None:
    """Which part of the way each of two things gives; None when neither does."""
    if first_is_firm and second_is_firm:
        return None
    if first_is_firm:
        return 0.0, 1.0
    return (1.0, 0.0) if second_is_firm else (0.5, 0.5)


def _overlap(place: np.ndarray, k: int, centres: np.ndarray, radius: np.ndarray) -> float:
    """By how many px thing `k`, were it at `place` [2], would lie over any other."""
    lacks = radius + radius[k] - np.hypot(*(centres - place).T)
    return float(np.delete(lacks, k).max(initial=0.0))


def _nearest_room(
    origin: np.ndarray, k: int, centres: np.ndarray, radius: np.ndarray, low: np.ndarray
) -> np.ndarray:
    """The place [2] px next to `origin` where `k` fits among the others; without one, its own."""
    others = [j for j in range(len(centres)) if j != k]
    circles = [(centres[j], float(radius[j] + radius[k])) for j in others]
    found = [
        place
        for place in _corners_of_room(circles, low, FRAME_SIZE - low)
        if (place >= low - _TOUCHING).all()
        and (place <= FRAME_SIZE - low + _TOUCHING).all()
        and _overlap(place, k, centres, radius) <= _TOUCHING
    ]
    return min(found, key=lambda place: np.hypot(*(place - origin)), default=centres[k])


def _corners_of_room(
    circles: list[tuple[np.ndarray, float]], low: np.ndarray, high: np.ndarray
) -> Iterator[np.ndarray]:
    """Where circles (centre, radius) and the borders of `low`..`high` [2] cross each other."""
    for (first, near), (second, far) in combinations(circles, 2):
        apart = second - first
        distance = float(np.hypot(*apart))
        if not max(abs(near - far), 1e-6) < distance < near + far:
            continue
        along = (distance**2 + near**2 - far**2) / (2 * distance)
        way = apart / distance
        aside = np.sqrt(max(0.0, near**2 - along**2)) * np.array([-way[1], way[0]])
        yield first + along * way + aside
        yield first + along * way - aside
    for (centre, size), axis, border, side in product(circles, (0, 1), (low, high), (1, -1)):
        across = size**2 - (border[axis] - centre[axis]) ** 2
        if across >= 0:
            place = centre.copy()
            place[axis] = border[axis]
            place[1 - axis] += side * np.sqrt(across)
            yield place
