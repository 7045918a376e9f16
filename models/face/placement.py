"""How a face is brought to where a model wants it, and what of it will not do: geometry alone.

client/web/face/placement.js does the same; tests/fixtures/face/vectors.json holds both to it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..contract import PictureGuide
from .finder import Square
from .networks import Floats

Flaw = Literal["none", "several", "hidden", "turned", "dark", "closed", "open"]

WORDS: dict[Flaw, str] = {
    "none": "No face was found: place the picture by hand.",
    "several": "There are several faces: the largest is taken.",
    "hidden": "The face is partly hidden: hands, hair and masks move with it.",
    "turned": "The face looks aside: one from the front works better.",
    "dark": "The face is too dark: take a picture with more light on it.",
    "closed": "The eyes look closed: take a picture with open eyes.",
    "open": "The mouth is open: with closed lips it speaks better.",
}
"""What a person is told."""

# points of Face Mesh, from left to right in the picture, from top to bottom
EYES = ((33, 133), (362, 263))
LIDS = ((159, 145), (386, 374))
LIPS = (13, 14)
NOSE = 1
CHEEKS = (234, 454)

_ALL_SEEN = 0.97
"""Presence below which a part of a face is covered."""
_ASIDE = 0.3
"""Of the face's width, the nose beside its middle: as turned by 20 degrees."""
_DARK = 55
"""Levels of 255, of what is light in a face."""
_CLOSED = 0.22
"""Height of an eye over its width; the rendered looks have 0.33 to 0.41 open."""
_OPEN = 0.1
"""Gap of the lips over the distance of the eyes."""


def placed(points: Floats, guide: PictureGuide) -> Square:
    """The square to cut out of a picture for the face whose points [468, 2] these are.

    The eyes become level; size and place are the least squares fit of eyes and mouth.
    """
    eyes = np.array([(points[a] + points[b]) / 2 for a, b in EYES], np.float64)
    mouth = (points[LIPS[0]] + points[LIPS[1]]) / 2
    right, down = eyes[1] - eyes[0]
    angle = float(np.arctan2(down, right))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    face = np.array([*eyes, mouth]) @ turn
    wanted = np.array([*guide.eyes, guide.mouth])
    around, spread = face - face.mean(0), wanted - wanted.mean(0)
    side = float((around * spread).sum() / (spread**2).sum())
    x, y = turn @ (face.mean(0) + side * (0.5 - wanted.mean(0)))
    return Square(float(x), float(y), side, angle)


def flaws(points: Floats, presence: float, light: float, count: int) -> list[Flaw]:
    """What a person should know of the face that was found, the worst last.

    `light` is the level, 0..255, that one tenth of the face exceeds; `count` is how many faces
    the picture has.
    """
    apart = [_distance(points, a, b) for a, b in EYES]
    heights = [_distance(points, a, b) for a, b in LIDS]
    eyes = np.array([(points[a] + points[b]) / 2 for a, b in EYES])
    across = points[CHEEKS[1]] - points[CHEEKS[0]]
    nose = (points[NOSE] - points[CHEEKS[0]]) @ across / (across @ across)
    found: dict[Flaw, bool] = {
        "several": count > 1,
        "open": _distance(points, *LIPS) > _OPEN * np.hypot(*(eyes[1] - eyes[0])),
        "closed": max(h / a for h, a in zip(heights, apart, strict=True)) < _CLOSED,
        "dark": light < _DARK,
        "turned": abs(nose - 0.5) > _ASIDE,
        "hidden": presence < _ALL_SEEN,
    }
    return [flaw for flaw, there in found.items() if there]


def _distance(points: Floats, a: int, b: int) -> float:
    return float(np.hypot(*(points[a] - points[b])))
