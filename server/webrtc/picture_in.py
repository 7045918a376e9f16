"""A frame of a peer's video as a model takes it."""

from __future__ import annotations

import av
import numpy as np


def picture_of(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    """The middle of the frame, uint8 RGB [height, width, 3]."""
    scale = max(width / frame.width, height / frame.height)
    wide, high = max(width, round(frame.width * scale)), max(height, round(frame.height * scale))
    pixels = frame.reformat(width=wide, height=high, format="rgb24").to_ndarray()
    left, top = (wide - width) // 2, (high - height) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])
