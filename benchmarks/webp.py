"""Looping clips of streams beside each other, small enough for a page of the documentation."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..models.pocket.looks import FPS

LARGEST_BYTES = 400_000
SECONDS = 3.2
PAPER, INK = (24, 26, 30), (222, 226, 230)
_QUALITIES = range(85, 35, -10)
_LABEL_HEIGHT = 22


def labelled(streams: Sequence[np.ndarray], labels: Sequence[str]) -> list[Image.Image]:
    """Frames [T, H, W, 3] of several streams beside each other, each over its label."""
    length = min([round(SECONDS * FPS), *(len(frames) for frames in streams)])
    beside = np.concatenate([frames[-length:] for frames in streams], axis=2)
    height, width = beside.shape[1:3]
    strip = Image.new("RGB", (width, height + _LABEL_HEIGHT), PAPER)
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(13)
    for k, label in enumerate(labels):
        middle = ((k + 0.5) * width / len(labels), height + _LABEL_HEIGHT / 2)
        pen.text(middle, label, fill=INK, font=font, anchor="mm")
    pictures = []
    for frame in beside:
        picture = strip.copy()
        picture.paste(Image.fromarray(frame), (0, 0))
        pictures.append(picture)
    return pictures


def fitted(pictures: Sequence[Image.Image], largest: int = LARGEST_BYTES) -> bytes:
    """An endless WebP of at most `largest` bytes. Raises ValueError if even the worst is larger."""
    for skip in (1, 2):
        for quality in _QUALITIES:
            data = _encoded(pictures[::skip], quality, skip * 1000 // FPS)
            if len(data) <= largest:
                return data
    raise ValueError(f"{len(data)} bytes at the lowest quality; show fewer streams")


def _encoded(pictures: Sequence[Image.Image], quality: int, frame_ms: int) -> bytes:
    buffer = io.BytesIO()
    first, *others = pictures
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=frame_ms,
        loop=0,
        quality=quality,
        method=4,
    )
    return buffer.getvalue()
