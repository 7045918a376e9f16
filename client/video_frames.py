"""The frames of a video file, cut and paced as a model takes them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image, ImageOps

from .input_file import open_input


def video_frames(path: Path | str, *, width: int, height: int, fps: int) -> Iterator[np.ndarray]:
    """uint8 RGB [height, width, 3], `fps` for every second of any video file, from its beginning.

    A frame that is shown for longer comes more than once, of those between two nothing comes. Cut
    to its middle, turned as the file says. `-` reads what is piped in. Raises FileNotFoundError,
    OSError for what may not be read, or ValueError for a file that has no video.
    """
    with open_input(path, "video") as file:
        try:
            with av.open(file) as container:
                if not container.streams.video:
                    raise ValueError(f"{path} has no picture in it; give a video")
                yield from _paced(container, width, height, fps)
        except FFmpegError as error:
            raise ValueError(f"{path} is no video that can be read; give an MP4 or WebM") from error


def _paced(
    container: av.container.InputContainer, width: int, height: int, fps: int
) -> Iterator[np.ndarray]:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    first: Fraction | None = None
    given, shown = 0, None
    for frame in container.decode(stream):
        time_s = _seconds(frame, stream, given)
        first = time_s if first is None else first
        due = round((time_s - first) * fps)
        while shown is not None and given < due:
            yield shown
            given += 1
        if given <= due:
            shown = _cut(frame, width, height)
    if shown is not None:
        yield shown


def _seconds(frame: av.VideoFrame, stream: av.video.stream.VideoStream, number: int) -> Fraction:
    if frame.pts is not None and frame.time_base is not None:
        return frame.pts * frame.time_base
    return Fraction(number) / (stream.average_rate or 25)


def _cut(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    if frame.rotation:
        image = image.rotate(frame.rotation, expand=True)
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR))
