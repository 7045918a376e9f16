"""Faces drawn for tests: two eyes and a mouth where a model wants them."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
SKIN: Colour = (224, 172, 130)
RED: Colour = (200, 40, 40)
BLUE: Colour = (40, 60, 200)


def face(side: int = 400, behind: Colour = BLUE) -> Image.Image:
    """A square picture of a face before one colour."""
    picture = Image.new("RGB", (side, side), behind)
    draw = ImageDraw.Draw(picture)

    def oval(x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        box = ((x - rx) * side, (y - ry) * side, (x + rx) * side, (y + ry) * side)
        draw.ellipse(box, fill=colour)

    oval(0.5, 0.52, 0.28, 0.38, SKIN)
    for x in (0.395, 0.602):
        oval(x, 0.484, 0.05, 0.03, (250, 250, 250))
        oval(x, 0.484, 0.02, 0.025, (40, 30, 20))
    oval(0.5, 0.712, 0.1, 0.03, (170, 60, 60))
    return picture


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def portrait(behind: Colour = BLUE, side: int = 400) -> bytes:
    """A face as the bytes of a JPEG."""
    return encoded(face(side, behind), quality=90)
