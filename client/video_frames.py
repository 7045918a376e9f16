"""The frames of a video file, cut and paced as a model takes them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import repeat
from math import ceil
from pathlib import Path

import av
import numpy as np
from av.container.input import InputContainer
from av.error import FFmpegError
from PIL import Image, ImageOps

from .input_file import open_input


def video_frames(path: Path | str, *, width: int, height: int, fps: int) -> Iterator[np.ndarray]:
    """uint8 RGB [height, width, 3], `fps` for every second of any video file, from its beginning.

    Each is what the video shows at its moment: a frame that is shown for longer comes more than
    once, one that is shown between two moments never. Cut to its middle, turned as the file says.
    `-` reads what is piped in. Raises FileNotFoundError, OSError for what may not be read, or
    ValueError for a file that has no video.
    """
    with open_input(path, "video") as file:
        try:
            with av.open(file, "r") as container:
                if not container.streams.video:
                    raise ValueError(f"{path} has no picture in it; give a video")
                yield from _paced(container, width, height, fps)
        except FFmpegError as error:
            raise ValueError(f"{path} is no video that can be read; give an MP4 or WebM") from error


def _paced(container: InputContainer, width: int, height: int, fps: int) -> Iterator[np.ndarray]:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    lasts_s = 1 / (stream.average_rate or Fraction(25))
    first_s: Fraction | None = None
    shown: av.VideoFrame | None = None
    given, end_s = 0, Fraction(0)
    for frame in container.decode(stream):
        if frame.pts is None or frame.time_base is None:
            time_s = end_s + (first_s or 0)
        else:
            time_s = frame.pts * frame.time_base
        first_s = time_s if first_s is None else first_s
        # all moments before this frame show the one before it
        due = ceil((time_s - first_s) * fps)
        if shown is not None and given < due:
            cut = _cut(shown, width, height)
            yield from repeat(cut, due - given)
            given = due
        shown, end_s = frame, time_s - first_s + lasts_s
    if shown is not None:
        yield from repeat(_cut(shown, width, height), max(not given, round(end_s * fps) - given))


def _cut(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    if frame.rotation:
        image = image.rotate(frame.rotation, expand=True)
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR))
