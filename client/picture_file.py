"""Pictures for a stream, a face or an image to start from: read, made small, put into text."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path

from PIL import Image

from .input_file import open_input
from .picture_pixels import as_srgb

MAX_SIDE = 1024
MAX_IMAGE_SIDE = 1920
MAX_BYTES = 512 * 1024
"""Of what the server takes."""
MAX_PIXELS = 150_000_000
_QUALITIES = (90, 80, 65, 50, 30)
"""The first that keeps the file within `MAX_BYTES`."""
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_GIVE = "give a JPEG or PNG"


def load_picture(path: Path | str) -> bytes:
    """A JPEG of a face, at most 1024 pixels a side, of any picture file, without its metadata.

    It is upright. Its colours are sRGB, light grey where it is transparent. `-` reads what is piped
    in. Raises FileNotFoundError, OSError for what may not be read, or ValueError for a file that is
    no picture or has too many pixels.
    """
    return _load(path, MAX_SIDE)


def load_image(path: Path | str) -> bytes:
    """An image to start from, at most 1920 pixels a side; otherwise as `load_picture`."""
    return _load(path, MAX_IMAGE_SIDE)


def picture_of(data: bytes, name: str = "what was given") -> bytes:
    """As `load_picture`, of a file's bytes; errors call them `name`."""
    return _converted(data, name, MAX_SIDE)


def _load(path: Path | str, max_side: int) -> bytes:
    with open_input(path, "picture") as file:
        return _converted(file.read(), str(path), max_side)


def _converted(data: bytes, name: str, max_side: int) -> bytes:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        _learn_heif()
    # A decoder may say anything of a file that is broken; to who gave it, it is all the same.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = _small(data, max_side)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name} has too many pixels; give a picture of at most {MAX_PIXELS:,}"
        ) from error
    except Exception as error:
        raise ValueError(f"{name} is no picture that can be read; {_GIVE}") from error
    jpeg = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        jpeg = buffer.getvalue()
        if len(jpeg) <= MAX_BYTES:
            break
    return jpeg


def picture_text(picture: bytes) -> str:
    """The bytes of a picture file as a message carries them."""
    return base64.b64encode(picture).decode()


def _small(data: bytes, max_side: int) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        # Of a JPEG much larger than what is wanted only a fraction is decoded.
        image.draft(None, (2 * max_side, 2 * max_side))
        picture = as_srgb(image)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return picture


def _learn_heif() -> None:
    """Let Pillow read what phones of one maker write."""
    from pi_heif import register_heif_opener

    register_heif_opener()
