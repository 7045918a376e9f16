"""A picture of a face for a stream: read from a file, made small, put into text."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path

from PIL import Image

from .input_file import open_input
from .picture_pixels import as_srgb

MAX_SIDE = 1024
MAX_PIXELS = 150_000_000
_QUALITY = 90
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_GIVE = "give a JPEG or PNG"


def load_picture(path: Path | str) -> bytes:
    """A JPEG of at most 1024 pixels a side of any picture file, upright, without its metadata.

    Its colours are sRGB, light grey where it is transparent. `-` reads what is piped in. Raises
    FileNotFoundError, OSError for what may not be read, or ValueError for a file that is no
    picture or has too many pixels.
    """
    with open_input(path, "picture") as file:
        data = file.read()
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        _learn_heif()
    # A decoder may say anything of a file that is broken; to who gave it, it is all the same.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = _small(data)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} has too many pixels; give a picture of at most {MAX_PIXELS:,}"
        ) from error
    except Exception as error:
        raise ValueError(f"{path} is no picture that can be read; {_GIVE}") from error
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def picture_text(picture: bytes) -> str:
    """The bytes of a picture file as a message carries them."""
    return base64.b64encode(picture).decode()


def _small(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        # Of a JPEG much larger than what is wanted only a fraction is decoded.
        image.draft(None, (2 * MAX_SIDE, 2 * MAX_SIDE))
        picture = as_srgb(image)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return picture


def _learn_heif() -> None:
    """Let Pillow read what phones of one maker write."""
    from pi_heif import register_heif_opener

    register_heif_opener()
