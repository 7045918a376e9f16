"""Pictures as PyAV has them, and back."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from ...models.yuv_frames import Picture, YuvFrame


def av_frame(picture: Picture) -> av.VideoFrame:
    """A frame in rgb24 or in yuv420p; that has even sides."""
    if isinstance(picture, np.ndarray):
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.planes), format="yuv420p")
    frame.colorspace, frame.color_range = Colorspace.ITU601, ColorRange.MPEG
    return frame


def picture_of(frame: av.VideoFrame, height: int, width: int) -> Picture:
    """What is in a frame of either format, for a picture of so many pixels."""
    if frame.format.name == "rgb24":
        return frame.to_ndarray()
    return YuvFrame(frame.to_ndarray(), height, width)
