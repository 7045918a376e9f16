"""A picture of a face for a stream: read from a file, made small, put into text."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

MAX_SIDE = 1024
_QUALITY = 90


def load_picture(path: Path | str) -> bytes:
    """A JPEG of at most 1024 pixels a side of any picture file, upright, without its metadata.

    Raises FileNotFoundError, or ValueError for a file that is no picture.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such picture: {path}")
    try:
        with Image.open(path) as image:
            image.draft(None, (2 * MAX_SIDE, 2 * MAX_SIDE))
            picture = ImageOps.exif_transpose(image).convert("RGB")
    except OSError as error:
        raise ValueError(f"{path} is no picture that can be read; give a JPEG or PNG") from error
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def picture_text(picture: bytes) -> str:
    """The bytes of a picture file as a message carries them."""
    return base64.b64encode(picture).decode()
