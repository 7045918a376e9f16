"""The colours of any picture as 8-bit sRGB: upright, over light grey where it is transparent."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
from PIL import Image, ImageCms, ImageOps

BEHIND = (200, 200, 200)
"""What shows through where a picture is transparent."""
_PROFILED = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
"""By what stands in a profile's header: the mode of pictures that it describes."""


def as_srgb(image: Image.Image) -> Image.Image:
    """RGB of an open picture: turned as its EXIF says, its colour profile applied, opaque.

    Raises whatever the decoder does for a broken file.
    """
    profile = image.info.get("icc_profile")
    upright = ImageOps.exif_transpose(image)
    alpha = _alpha(upright)
    colours = _in_srgb(_eight_bits(upright), profile)
    if alpha is None:
        return colours
    return Image.composite(colours, Image.new("RGB", colours.size, BEHIND), alpha)


def _alpha(image: Image.Image) -> Image.Image | None:
    """How opaque each pixel is, 8 bits; None for a picture that is opaque everywhere."""
    if not image.has_transparency_data:
        return None
    if image.mode.startswith("I"):
        # 16 bits of grey with a single value that is transparent
        opaque = np.asarray(image) != image.info["transparency"]
        return Image.fromarray(255 * opaque.astype(np.uint8))
    return image.convert("RGBA").getchannel("A")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, of 32 or in floats scaled to 8, which converting would cut off instead."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, np.float32)
    if image.mode == "F":
        most = 1.0 if values.max(initial=0) <= 1 else 255.0
    else:
        most = 65_535.0 if values.max(initial=0) <= 65_535 else 2.0**32 - 1
    return Image.fromarray(np.round(255 * np.clip(values / most, 0, 1)).astype(np.uint8))


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB, converted from the picture's own colours where they are known."""
    if profile:
        # a profile that is broken, or is for another kind of picture, says nothing
        with suppress(ImageCms.PyCMSError, OSError, ValueError, KeyError):
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = _PROFILED[profile[16:20]]
            if (mode == "CMYK") == (image.mode == "CMYK"):
                srgb = ImageCms.createProfile("sRGB")
                source = image if image.mode == mode else _plain(image).convert(mode)
                converted = ImageCms.profileToProfile(source, own, srgb, outputMode="RGB")
                assert converted is not None, "only in place there is nothing to return"
                return converted
    return _plain(image)


def _plain(image: Image.Image) -> Image.Image:
    """RGB as it is stored, whatever is transparent in it."""
    # by way of RGBA, since what is transparent in a palette may be a colour of it
    return (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")
