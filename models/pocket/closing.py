"""Closed lips for a face whose only picture shows its teeth.

Streams close the lips in every pause, and a picture that somebody brings must show them so: what
is between the lips is left out, the upper lip with what is above it comes down, the lower one with
what is below it comes up, and between them the line is drawn where closed lips meet. Teeth are
shown by the open picture, as those of every picture that is brought (`opening`). Where the lips
are, Face Mesh says. A picture with closed lips stays as it is, byte for byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..face.finder import Square, trace
from ..face.placement import EYES, LIPS

Floats = npt.NDArray[np.floating[Any]]

_OPEN = 0.07
"""Gap of the lips over the distance of the eyes from which on they are closed here; the rendered
faces with closed lips read 0.03."""
_SURE = 0.5
_AROUND = Square(192.0, 204.0, 330.0)
"""What Face Mesh looks at in a placed picture of 384 x 384 pixels."""
# points of Face Mesh from the left corner of the mouth to the right one
_INNER = (
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
)
_OUTER = (
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
)
_NOSE, _CHIN = 2, 152
_MARGIN = 0.08
"""Of the gap, and of either lip: the edge of the teeth is not the lip's."""
_FLATTENED, _BESIDE = 0.85, 0.5
"""How much less the mouth is bent than in its smile, and what moves beside it, of its width."""
_TINT = (0.02, 0.14, 0.13)
"""What lips take of red, green and blue: a smile has stretched them pale."""
_LINE, _DARK = 1.1, 0.25
"""Half width of the line between closed lips in pixels, and how much of the light it takes."""


def with_closed_lips(picture: np.ndarray) -> tuple[np.ndarray, int | None]:
    """A placed picture uint8 RGB [384, 384, 3] with its lips together, and the row they meet in.

    The picture is the one given if they are closed in it. No row where no face is seen.
    """
    points, sure = trace(picture[None], _AROUND)
    face = points[0]
    if float(sure[0]) < _SURE:
        return picture, None
    left, right = (face[list(pair)].mean(0) for pair in EYES)
    upper, lower = (float(face[point, 1]) for point in LIPS)
    if lower - upper < _OPEN * float(np.hypot(*(right - left))):
        return picture, round((upper + lower) / 2)
    columns = np.arange(picture.shape[1], dtype=np.float32)
    inner = [_line(face[list(row)], columns) for row in _INNER]
    seam = _relaxed((inner[0] + inner[1]) / 2, face[list(_INNER[0])], columns)
    middle = round(float(face[list(LIPS), 0].mean()))
    return _drawn_together(picture, face, seam), round(float(seam[middle]))


def _drawn_together(picture: np.ndarray, face: Floats, seam: Floats) -> np.ndarray:
    height, width = picture.shape[:2]
    columns = np.arange(width, dtype=np.float32)
    upper, lower = (_line(face[list(row)], columns) for row in _INNER)
    over, under = (_line(face[list(row)], columns) for row in _OUTER)
    gap = np.maximum(lower - upper, 0)
    margin = _MARGIN * np.minimum(gap, 16.0)
    # how far either lip moves at the seam, and where what moves with it comes to rest
    down, up = seam - upper + margin, lower - seam + margin
    over, under = np.minimum(over, upper - 1) + down, np.maximum(under, lower + 1) - up
    nose = np.minimum(float(face[_NOSE, 1]), over - 4)
    chin = np.maximum(float(face[_CHIN, 1]), under + 4)
    rows = np.arange(height, dtype=np.float32)[:, None]
    above = np.clip((rows - nose) / (over - nose), 0, 1)
    below = np.clip((chin - rows) / (chin - under), 0, 1)
    moved = np.where(rows < seam, -down * _eased(above), up * _eased(below))
    drawn = _sampled(picture, rows + moved)
    there = np.clip(gap / 4, 0, 1)
    line = np.exp(-(((rows - seam) / _LINE) ** 2)) * there
    lips = np.clip((rows - over + 2) / 2, 0, 1) * np.clip((under - rows + 2) / 2, 0, 1) * there
    drawn *= 1 - (_DARK * line)[..., None] - lips[..., None] * np.array(_TINT, np.float32)
    return np.clip(drawn + 0.5, 0, 255).astype(np.uint8)


def _relaxed(seam: Floats, lip: Floats, columns: Floats) -> Floats:
    """The line between the lips, less bent than in the smile that parted them."""
    left, right = float(lip[:, 0].min()), float(lip[:, 0].max())
    beside = np.maximum(left - columns, columns - right) / (_BESIDE * (right - left))
    inside = (columns > left) & (columns < right)
    level = float(seam[inside].mean()) if inside.any() else float(seam.mean())
    share = _FLATTENED * _eased(np.clip(1 - beside, 0, 1))
    return seam + share * (level - seam)


def _line(points: Floats, columns: Floats) -> Floats:
    """Height of a line through points [N, 2] at each column; outside of them that of its ends."""
    order = np.argsort(points[:, 0])
    return np.interp(columns, points[order, 0], points[order, 1]).astype(np.float32)


def _eased(share: Floats) -> Floats:
    return share * share * (3 - 2 * share)


def _sampled(picture: np.ndarray, rows: Floats) -> Floats:
    """Pixels of each column at other rows [H, W], float [H, W, 3]."""
    last = picture.shape[0] - 1
    rows = np.clip(rows, 0, last)
    first = np.minimum(rows.astype(np.int64), last - 1)
    share = (rows - first)[..., None]
    columns = np.arange(picture.shape[1])[None]
    one, two = (picture[first + k, columns].astype(np.float32) for k in (0, 1))
    return one * (1 - share) + two * share
