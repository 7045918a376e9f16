"""Pictures from anywhere: what is taken comes out upright and square, the rest is refused."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rollcast.models import picture
from rollcast.models.picture import (
    MAX_BYTES,
    PictureRefused,
    fitted,
    fitted_pixels,
    pixels,
    sample,
    small_square,
)

from ..pictures import BLUE, RED, encoded, face, portrait

SIDE = 96


def near(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() < 12)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *(("PNG", mode) for mode in ("RGB", "L", "P", "RGBA")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
    ],
)
def test_every_format_and_mode_gives_a_small_square_of_the_same_picture(
    kind: str, mode: str
) -> None:
    shown = pixels(small_square(encoded(face().convert(mode), kind), SIDE))
    assert shown.shape == (SIDE, SIDE, 3) and shown.dtype == np.uint8
    expected = np.asarray(face().convert(mode).convert("RGB").resize((SIDE, SIDE)))
    assert np.abs(shown.astype(int) - expected).mean() < 5


def test_sixteen_bits_of_grey_are_not_white() -> None:
    grey = np.asarray(face().convert("L"))
    deep = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    shown = pixels(small_square(deep, SIDE))
    expected = np.asarray(face().convert("L").convert("RGB").resize((SIDE, SIDE)))
    assert np.abs(shown.astype(int) - expected).mean() < 5


def test_the_middle_of_a_wide_and_of_a_tall_picture_is_shown() -> None:
    for size, edge in (((300, 100), (0, 0, 100, 100)), ((100, 300), (0, 0, 100, 100))):
        whole = Image.new("RGB", size, BLUE)
        whole.paste(RED, edge)
        shown = pixels(small_square(encoded(whole, "PNG"), SIDE))
        assert all(near(shown[y, x], BLUE) for y in (2, -3) for x in (2, -3))


def test_a_picture_is_turned_upright_and_forgets_where_it_was_taken() -> None:
    lying = Image.new("RGB", (200, 200), BLUE)
    lying.paste(RED, (0, 0, 20, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera of mine"
    shown = small_square(encoded(lying, exif=exif), SIDE)
    assert b"camera" in encoded(lying, exif=exif) and b"camera" not in shown
    assert not Image.open(io.BytesIO(shown)).getexif()
    # turned a quarter to the right, the left edge is at the top
    assert near(pixels(shown)[2, SIDE // 2], RED) and near(pixels(shown)[SIDE // 2, 2], BLUE)


def test_what_is_transparent_is_grey() -> None:
    layer = face().convert("RGBA")
    layer.putalpha(0)
    assert near(pixels(small_square(encoded(layer, "PNG"), SIDE))[5, 5], (200, 200, 200))


def test_a_second_view_in_a_jpeg_is_no_film() -> None:
    both = encoded(face(), "MPO", save_all=True, append_images=[face(behind=RED)])
    assert near(pixels(small_square(both, SIDE))[2, 2], BLUE)


def test_the_same_picture_again_hardly_changes() -> None:
    once = small_square(portrait(), SIDE)
    twice = small_square(once, SIDE)
    assert np.abs(pixels(once).astype(int) - pixels(twice)).mean() < 1


def test_the_sample_is_taken() -> None:
    assert pixels(small_square(sample(128), 64)).shape == (64, 64, 3)


def _bomb() -> bytes:
    """A PNG of 60 000 x 60 000 pixels that says so and is 1 kB long."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(900))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _film(kind: str) -> bytes:
    return encoded(face(100), kind, save_all=True, append_images=[face(100, RED)])


BAD = {
    "nothing": (b"", "no picture", "JPEG, PNG or WebP"),
    "words": (b"hello, world", "no picture", "JPEG, PNG or WebP"),
    "another format": (encoded(face(), "GIF"), "no picture", "JPEG, PNG or WebP"),
    "a bomb": (_bomb(), "pixels", "at most 4096"),
    "wide": (encoded(Image.new("L", (4097, 64)), "PNG"), "4097 x 64", "at most 4096"),
    "small": (encoded(face(63), "PNG"), "63 x 63", "at least 64"),
    "an animated PNG": (_film("PNG"), "animated", "single"),
    "an animated WebP": (_film("WEBP"), "animated", "single"),
    "half of a JPEG": (portrait()[:4000], "broken", "Save it again"),
    "half of a PNG": (encoded(face(), "PNG")[:1500], "broken", "Save it again"),
    "half of a WebP": (encoded(face(), "WEBP")[:1500], "", ""),
    "long": (portrait() + bytes(picture.MAX_BYTES), "bytes", "smaller"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_is_refused_with_its_reason_and_cure(name: str) -> None:
    data, reason, hint = BAD[name]
    with pytest.raises(PictureRefused) as caught:
        small_square(data, SIDE)
    assert reason in caught.value.message and hint in caught.value.hint
    assert caught.value.hint and caught.value.hint in str(caught.value)


def test_noise_never_gives_another_error() -> None:
    rng = np.random.default_rng(0)
    whole = {kind: encoded(face(120), kind) for kind in ("JPEG", "PNG", "WEBP")}
    for number in range(150):
        data = bytearray(whole[("JPEG", "PNG", "WEBP")[number % 3]])
        for place in rng.integers(0, len(data), 12):
            data[place] = int(rng.integers(256))
        with contextlib.suppress(PictureRefused):
            assert pixels(small_square(bytes(data), 32)).shape == (32, 32, 3)


def test_what_was_cut_for_a_small_model_is_taken_again_as_it_is() -> None:
    once = fitted(encoded(Image.new("RGB", (90, 70), RED)), 32, 24)
    assert np.array_equal(fitted_pixels(once, 32, 24), pixels(once))
    with pytest.raises(PictureRefused):
        fitted_pixels(once, 24, 24)


@pytest.mark.parametrize("size", [(832, 480), (480, 832), (1280, 704)])
def test_a_picture_is_cut_to_the_shape_that_is_wanted_and_stays_small_enough(
    size: tuple[int, int],
) -> None:
    wide = Image.new("RGB", (900, 900), RED)
    wide.paste(BLUE, (0, 0, 900, 40))
    wide.paste(BLUE, (0, 0, 40, 900))
    shown = fitted_pixels(encoded(wide), *size)
    assert shown.shape == (size[1], size[0], 3)
    assert near(shown[-1, 0] if size[0] < size[1] else shown[0, -1], RED)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = fitted(encoded(Image.fromarray(noise).resize((400, 300))), *size)
    assert len(file) <= MAX_BYTES
