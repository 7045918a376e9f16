"""Frames made smaller for a client that wants fewer pixels."""

from __future__ import annotations

from av.video.reformatter import Interpolation, VideoReformatter

from ...models.yuv_frames import Picture, YuvFrame, even
from .av_frames import av_frame, picture_of


class Scaler:
    """Frames of any size to `width` x `height`, averaging over areas."""

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._height = height
        self._reformatter = VideoReformatter()

    def scaled(self, picture: Picture) -> Picture:
        """A picture in the size that is wanted; one that has it passes. RGB stays RGB."""
        height, width = self._height, self._width
        if isinstance(picture, YuvFrame):
            size, height, width = (picture.height, picture.width), even(height), even(width)
        else:
            size = picture.shape[:2]
        if size == (self._height, self._width):
            return picture
        frame = self._reformatter.reformat(
            av_frame(picture),
            width=width,
            height=height,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        return picture_of(frame, self._height, self._width)
