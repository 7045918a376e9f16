"""Frames made smaller for a client that wants fewer pixels."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter


class Scaler:
    """Frames of any size to `width` x `height`, averaging over areas."""

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._height = height
        self._reformatter = VideoReformatter()

    def scaled(self, rgb: np.ndarray) -> np.ndarray:
        """A frame, uint8 [H, W, 3], in the size that is wanted; one that has it passes."""
        if rgb.shape[:2] == (self._height, self._width):
            return rgb
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24"),
            width=self._width,
            height=self._height,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        return frame.to_ndarray()
