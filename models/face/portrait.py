"""A picture that someone brings, cut so that its face lies as a model wants it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..contract import PictureGuide
from .finder import Face, Square, cut, find, put_back
from .networks import Floats
from .placement import Flaw, flaws, placed

_EDGE = 8
"""Pixels a side from which what surrounds a picture takes its colours."""


def portrait(picture: Image.Image, guide: PictureGuide) -> tuple[Image.Image | None, list[Flaw]]:
    """A square of `guide.size` pixels, None where no face was found, and what may be wrong."""
    found = find(picture)
    if found.face is None:
        return None, ["none"]
    face = found.face
    light = _light(picture, face)
    return (
        square_of(picture, placed(face.points, guide), guide.size),
        flaws(face.points, face.presence, light, found.count),
    )


def square_of(picture: Image.Image, part: Square, side: int) -> Image.Image:
    """A part of an RGB picture, `side` pixels wide; outside of it, the colours of its edges."""
    twice = 2 * side
    inside = cut(picture, part, twice)
    lies = cut(Image.new("RGB", picture.size, (255, 255, 255)), part, twice) / 255
    pixels = inside + (1 - lies) * _surroundings(picture, part, twice)
    made = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
    return made.resize((side, side), Image.Resampling.LANCZOS)


def _surroundings(picture: Image.Image, part: Square, side: int) -> Floats:
    """The colours of the nearest edge of a blurred picture [side, side, 3]."""
    blurred = np.asarray(picture.resize((_EDGE, _EDGE), Image.Resampling.BOX), np.float32)
    steps = np.arange(side, dtype=np.float32) + 0.5
    where = put_back(np.stack(np.meshgrid(steps, steps), -1), part, side) / picture.size
    at = np.clip(where * _EDGE - 0.5, 0, _EDGE - 1)
    low = np.minimum(at.astype(int), _EDGE - 2)
    right, down = np.moveaxis(at - low, -1, 0)[..., None]
    column, row = np.moveaxis(low, -1, 0)
    upper = blurred[row, column] * (1 - right) + blurred[row, column + 1] * right
    lower = blurred[row + 1, column] * (1 - right) + blurred[row + 1, column + 1] * right
    return upper * (1 - down) + lower * down


def _light(picture: Image.Image, face: Face) -> float:
    left, top = np.clip(face.points.min(0), 0, None)
    right, bottom = np.minimum(face.points.max(0), picture.size)
    grey = picture.crop((int(left), int(top), int(right) + 1, int(bottom) + 1)).convert("L")
    return float(np.percentile(np.asarray(grey), 90))
