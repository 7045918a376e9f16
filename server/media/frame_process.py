"""A program of its own that decodes the frames of one client's video, for `FrameReader`.

A task is how large the frame shall be and a JPEG; an answer is the pixels, or why there are none.
"""

from __future__ import annotations

import io

import msgspec
import numpy as np
from PIL import Image, ImageOps

from .killable_process import run

MOST_MEMORY_BYTES = 512 << 20
MOST_CPU_S = 0.5
"""Of one frame; one of 1280 x 720 takes 20 ms."""
MAX_SIDE = 4096
MIN_SIDE = 16
_SCAN = b"\xff\xda"
_MAX_SCANS = 16


class FrameTask(msgspec.Struct, frozen=True):
    """A JPEG, and the size in pixels that is wanted of it."""

    jpeg: bytes
    width: int
    height: int
    most_cpu_s: float = MOST_CPU_S


class FrameAnswer(msgspec.Struct, frozen=True):
    """uint8 RGB, height x width x 3 bytes, or why there is none."""

    rgb: bytes = b""
    message: str = ""


def decode(task: FrameTask) -> FrameAnswer:
    """The middle of a frame, at the size that is wanted."""
    if not task.jpeg.startswith(b"\xff\xd8"):
        return FrameAnswer(message="the payload is no JPEG")
    if task.jpeg.count(_SCAN) > _MAX_SCANS:
        return FrameAnswer(message=f"the JPEG has more than {_MAX_SCANS} scans")
    # A decoder may say anything of bytes from anywhere; it is all the same to who sent them.
    try:
        image = Image.open(io.BytesIO(task.jpeg), formats=("JPEG",))
        if not MIN_SIDE <= min(image.size) <= max(image.size) <= MAX_SIDE:
            return FrameAnswer(message=f"the frame has {image.width} x {image.height} pixels")
        size = (task.width, task.height)
        image.draft("RGB", size)
        frame = ImageOps.fit(image.convert("RGB"), size, Image.Resampling.BILINEAR)
        return FrameAnswer(rgb=np.asarray(frame).tobytes())
    except MemoryError:
        return FrameAnswer(message="the frame takes more memory to decode than there is for it")
    except Exception:
        return FrameAnswer(message="the JPEG is broken")


if __name__ == "__main__":
    run(FrameTask, decode, MOST_MEMORY_BYTES)
