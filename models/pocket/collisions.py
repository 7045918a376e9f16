"""Things of a scene push each other aside: none ever lies over another.

Whoever drags a thing sees it arrive, and two things that would share a cell of the flow grid, where
only one of them can be told, never do.
"""

from __future__ import annotations

import numpy as np

from .autoencoder import FRAME_SIZE

_ROUNDS = 8
# of a thing's radius, how much of it must stay within the frame
_INSIDE = 0.5


def push_apart(
    position: np.ndarray,
    radius: np.ndarray,
    firm: np.ndarray,
    beyond: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Centres [K, 2] px moved until things of these radii [K] px touch at most, within the frame.

    `firm` [K] things stay where they are; two firm ones may overlap, and so may things that the
    frame's border leaves no room. They may be `beyond` px (x, y) outside of it, which is as far as
    a camera can pan to see them.
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
                if share is None or lacks <= 1e-6:
                    continue
                way = apart / distance if distance > 1e-6 else np.array([0.0, 1.0])
                moved[a] -= share[0] * lacks * way
                moved[b] += share[1] * lacks * way
                shifted = True
        if not shifted:
            break
        loose = ~firm[:, None]
        moved = np.where(loose, np.clip(moved, low, FRAME_SIZE - low), moved)
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
