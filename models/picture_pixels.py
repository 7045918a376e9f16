"""What a picture file decodes to as opaque 8-bit sRGB: its depth, transparency and profile."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
from PIL import Image, ImageCms

BEHIND = (200, 200, 200)
"""What shows through where a picture is transparent."""
_SRGB = ImageCms.createProfile("sRGB")
_MODE_OF_PROFILE = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
"""By the four bytes of a profile's header that name what it describes."""


def opaque_srgb(image: Image.Image) -> Image.Image:
    """RGB of a JPEG, PNG or WebP that is open. Decodes it, and raises what the decoder raises."""
    if image.mode.startswith("I"):
        return _from_sixteen_bits(image)
    profile = image.info.get("icc_profile")
    if not image.has_transparency_data:
        return _converted(image, profile)
    layer = image.convert("RGBA")
    colours = _converted(layer.convert("RGB"), profile)
    return _over_grey(colours, layer.getchannel("A"))


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Grey, whose lowest 8 bits are left out, not its highest; one value may be transparent."""
    values = np.asarray(image)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    colours = _converted(grey, image.info.get("icc_profile"))
    clear = image.info.get("transparency")
    if clear is None:
        return colours
    return _over_grey(colours, Image.fromarray(255 * (values != clear).astype(np.uint8)))


def _over_grey(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    return Image.composite(colours, Image.new("RGB", colours.size, BEHIND), alpha)


def _converted(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB; a profile that is broken or does not fit the picture is passed over."""
    if profile is not None:
        with suppress(ImageCms.PyCMSError, OSError, ValueError, KeyError):
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = _MODE_OF_PROFILE[profile[16:20]]
            if (mode == "CMYK") == (image.mode == "CMYK"):
                fits = image.convert(mode)
                done = ImageCms.profileToProfile(fits, own, _SRGB, outputMode="RGB")
                return image.convert("RGB") if done is None else done
    return image.convert("RGB")
