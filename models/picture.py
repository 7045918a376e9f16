"""Pictures that people bring: read with suspicion, turned upright, cut to the size of a model.

Where a model wants a face, the picture is cut so that its largest one lies as the model expects;
one of exactly the model's size was placed by whoever brings it, and stays as it is.

What comes out has nothing of the file that came in but its colours: no place, no date, no camera.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from .contract import PictureGuide
from .face.placement import Flaw
from .face.portrait import portrait
from .picture_pixels import opaque_srgb

MAX_BYTES = 512 * 1024
MIN_SIDE, MAX_SIDE = 64, 4096
FORMATS = ("JPEG", "PNG", "WEBP")
MAX_SCANS = 100
"""Of a progressive JPEG; encoders write ten, and each is decoded as if it were a picture."""
_CLOSER = 6
"""A face may be so much smaller than its picture before it loses detail in decoding."""
_SCAN = b"\xff\xda"
_QUALITIES = (92, 80, 60, 40, 20)
"""Of what is handed on; the first that keeps it within `MAX_BYTES`."""


class PictureRefused(ValueError):
    """Bytes that are no picture to work with; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message} {hint}")
        self.message = message
        self.hint = hint


def small_square(data: bytes, side: int) -> bytes:
    """`fitted` to a square of `side` pixels."""
    return fitted(data, side, side)


def fitted(data: bytes, width: int, height: int) -> bytes:
    """A JPEG of `width` x `height` pixels, of the middle of a JPEG, PNG or WebP file.

    Raises PictureRefused for anything but one still picture within the limits, and MemoryError
    where there is too little memory for it.
    """
    return _small_jpeg(Image.fromarray(fitted_pixels(data, width, height)))


def placed(data: bytes, guide: PictureGuide) -> tuple[bytes, list[Flaw]]:
    """A JPEG of `guide.size` pixels a side of a JPEG, PNG or WebP file, its face where `guide`
    says, and what of it may be wrong.

    Of a picture without a face it is the middle; one of this size already is only written anew.
    Raises as `fitted`.
    """
    side = guide.size
    _check(data)
    whole = _decoded(data, (side, side), _CLOSER)
    if whole.size == (side, side):
        return _small_jpeg(whole), []
    square, flaws = portrait(whole, guide)
    if square is None:
        square = ImageOps.fit(whole, (side, side), Image.Resampling.LANCZOS)
    return _small_jpeg(square), flaws


def fitted_pixels(data: bytes, width: int, height: int) -> np.ndarray:
    """uint8 RGB [height, width, 3] of the middle of a JPEG, PNG or WebP file.

    Of a file that has this size already, as `fitted` gives it, exactly its pixels. Raises as
    `fitted`.
    """
    _check(data)
    whole = _decoded(data, (width, height))
    return np.asarray(ImageOps.fit(whole, (width, height), Image.Resampling.LANCZOS))


def pixels(square: bytes) -> np.ndarray:
    """uint8 RGB [side, side, 3] of what `small_square` gave."""
    return np.asarray(Image.open(io.BytesIO(square)).convert("RGB"))


def sample(width: int, height: int | None = None) -> bytes:
    """A picture of nothing, a square unless it has a `height`, for trying things out."""
    shades = Image.linear_gradient("L").resize((width, width))
    colours = Image.merge("RGB", [shades, shades.rotate(90), shades.rotate(180)])
    buffer = io.BytesIO()
    colours.resize((width, width if height is None else height)).save(buffer, "JPEG")
    return buffer.getvalue()


def _check(data: bytes) -> None:
    """Raises PictureRefused for a file that is too large, or that would take too long."""
    if len(data) > MAX_BYTES:
        raise PictureRefused(
            f"the picture has {len(data)} bytes, at most {MAX_BYTES} are taken",
            "Make it smaller, or save it as a JPEG.",
        )
    if data.startswith(b"\xff\xd8") and data.count(_SCAN) > MAX_SCANS:
        raise PictureRefused(
            f"the picture is a progressive JPEG of more than {MAX_SCANS} scans",
            "Save it again as an ordinary JPEG.",
        )


def _small_jpeg(image: Image.Image) -> bytes:
    """Of the first quality that keeps it within `MAX_BYTES`."""
    file = b""
    for quality in _QUALITIES:
        file = _jpeg(image, quality)
        if len(file) <= MAX_BYTES:
            break
    return file


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _decoded(data: bytes, size: tuple[int, int], times: int = 2) -> Image.Image:
    """The picture in RGB, upright, checked by its header before any of it is decoded.

    Of a JPEG more than `times` larger than `size`, which it will be cut to, only a fraction is
    decoded.
    """
    # A decoder may say anything of bytes from anywhere; it is all the same to who sent them.
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(f"the picture has far more than {MAX_SIDE} pixels a side") from error
    except MemoryError:
        raise
    except Exception as error:
        raise PictureRefused(
            "this is no picture that can be read", "Send a JPEG, PNG or WebP file."
        ) from error
    width, height = image.size
    if max(width, height) > MAX_SIDE:
        raise _too_large(f"the picture has {width} x {height} pixels")
    # what was cut for a model that is smaller than that is taken by it again
    if min(width, height) < MIN_SIDE and image.size != size:
        raise PictureRefused(
            f"the picture has {width} x {height} pixels",
            f"Send one with at least {MIN_SIDE} a side, better 400 or more.",
        )
    # Phones put a second view or a small copy into a JPEG: that is no film.
    if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
        raise PictureRefused("the picture is animated", "Send a single picture.")
    try:
        image.draft(None, (times * size[0], times * size[1]))
        return opaque_srgb(ImageOps.exif_transpose(image))
    except MemoryError:
        raise
    except Exception as error:
        raise PictureRefused(
            "the picture is broken: its end or a part of it is missing",
            "Save it again and send the new file.",
        ) from error


def _too_large(message: str) -> PictureRefused:
    return PictureRefused(message, f"Make it smaller: at most {MAX_SIDE} pixels a side.")
