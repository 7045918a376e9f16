"""The colours of a picture are those that its maker saw, at the client and at the server alike."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from rollcast.client.picture_file import load_picture
from rollcast.models.picture import small_square

from ..pictures import BLUE, RED, encoded

INPUTS = Path(__file__).parents[1] / "fixtures" / "inputs"
GREY = (200, 200, 200)
SIDE = 128
Reader = Callable[[Path, bytes], bytes]


def by_client(folder: Path, data: bytes) -> bytes:
    (folder / "picture").write_bytes(data)
    return load_picture(folder / "picture")


def by_server(folder: Path, data: bytes) -> bytes:
    return small_square(data, SIDE)


@pytest.fixture(params=[by_client, by_server])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], np.ndarray]:
    def seen(data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(request.param(tmp_path, data))) as picture:
            return np.asarray(picture.convert("RGB").resize((SIDE, SIDE))).astype(int)

    return seen


def close(pixel: np.ndarray, colour: tuple[int, ...], by: int = 6) -> bool:
    return bool(np.abs(pixel - np.array(colour)).max() <= by)


def half_clear(mode: str) -> Image.Image:
    """Red on the left, nothing on the right."""
    picture = Image.new("RGBA", (SIDE, SIDE), (*RED, 255))
    picture.paste((0, 0, 0, 0), (SIDE // 2, 0, SIDE, SIDE))
    return picture if mode == "RGBA" else picture.convert(mode)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_becomes_light_grey(
    read: Callable[[bytes], np.ndarray], kind: str
) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    shown = read(encoded(half_clear("RGBA"), kind, **options))
    assert close(shown[64, 20], RED) and close(shown[64, 108], GREY)


def test_half_transparent_is_mixed_with_it(read: Callable[[bytes], np.ndarray]) -> None:
    shown = read(encoded(Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 128)), "PNG"))
    assert close(shown[64, 64], (100, 100, 100))


def test_a_palette_may_be_transparent(read: Callable[[bytes], np.ndarray]) -> None:
    picture = Image.new("P", (SIDE, SIDE), 0)
    picture.putpalette([*RED, *BLUE, 0, 0, 0])
    picture.paste(1, (0, 64, 64, 128))
    picture.paste(2, (64, 0, 128, 128))
    shown = read(encoded(picture, "PNG", transparency=bytes([255, 128, 0])))
    assert close(shown[20, 20], RED) and close(shown[64, 108], GREY)
    assert close(shown[108, 20], tuple((np.array(BLUE) + 200) // 2))


def test_grey_with_transparency_and_a_colour_that_is(
    read: Callable[[bytes], np.ndarray],
) -> None:
    grey = Image.new("L", (SIDE, SIDE), 90)
    clear = Image.new("L", (SIDE, SIDE), 255)
    clear.paste(0, (64, 0, 128, 128))
    shown = read(encoded(Image.merge("LA", (grey, clear)), "PNG"))
    assert close(shown[64, 20], (90, 90, 90)) and close(shown[64, 108], GREY)
    keyed = Image.new("RGB", (SIDE, SIDE), (0, 255, 0))
    keyed.paste(RED, (0, 0, 64, 128))
    shown = read(encoded(keyed, "PNG", transparency=(0, 255, 0)))
    assert close(shown[64, 20], RED) and close(shown[64, 108], GREY)


def test_sixteen_bits_are_scaled(read: Callable[[bytes], np.ndarray]) -> None:
    ramp = np.tile(np.linspace(0, 65_535, SIDE).astype(np.uint16), (SIDE, 1))
    shown = read(encoded(Image.fromarray(ramp), "PNG"))
    assert np.abs(shown[64, :, 0] - np.linspace(0, 255, SIDE)).max() <= 4
    clear = read(encoded(Image.fromarray(ramp * 0 + 1000), "PNG", transparency=1000))
    assert close(clear[64, 64], GREY)


def test_a_colour_profile_is_applied(read: Callable[[bytes], np.ndarray]) -> None:
    with Image.open(INPUTS / "p3-like.jpg") as picture:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        meant = ImageCms.profileToProfile(
            picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        assert meant is not None
        stored = np.asarray(picture.resize((SIDE, SIDE))).astype(int)
    shown = read((INPUTS / "p3-like.jpg").read_bytes())
    wanted = np.asarray(meant.resize((SIDE, SIDE))).astype(int)
    assert np.abs(shown - wanted).mean() < 3
    assert np.abs(shown - stored).mean() > 20


def test_a_profile_under_transparency_or_of_another_kind(
    read: Callable[[bytes], np.ndarray],
) -> None:
    with Image.open(INPUTS / "p3-like.jpg") as picture:
        profile = picture.info["icc_profile"]
    plain = read(encoded(Image.new("RGB", (SIDE, SIDE), RED), "PNG", icc_profile=profile))
    shown = read(encoded(half_clear("RGBA"), "PNG", icc_profile=profile))
    assert close(shown[64, 20], tuple(plain[64, 64])) and close(shown[64, 108], GREY)
    assert not close(shown[64, 20], RED, by=20)
    broken = read(encoded(Image.new("RGB", (SIDE, SIDE), RED), "PNG", icc_profile=b"no profile"))
    assert close(broken[64, 64], RED)


@pytest.mark.parametrize("name", ["alpha.png", "grey16.png"])
def test_files_that_came_out_black_or_white(read: Callable[[bytes], np.ndarray], name: str) -> None:
    shown = read((INPUTS / name).read_bytes())
    assert close(shown[2, 2], GREY if name == "alpha.png" else (164, 164, 164))
    assert 120 < shown.mean() < 220


def test_what_a_server_is_never_sent_is_read_by_the_client(tmp_path: Path) -> None:
    halves = load_picture(INPUTS / "halves.heic")
    pixels = np.asarray(Image.open(io.BytesIO(halves))).astype(int)
    assert close(pixels[60, 20], RED) and close(pixels[60, 140], BLUE)
    depths = np.full((SIDE, SIDE), 0.5, np.float32), np.full((SIDE, SIDE), 32_768, np.int32)
    for depth in depths:
        grey = np.asarray(Image.open(io.BytesIO(by_client(tmp_path, tiff(depth))))).astype(int)
        assert close(grey[64, 64], (128, 128, 128))
    shown = by_client(tmp_path, encoded(half_clear("RGBA"), "AVIF", quality=90))
    assert close(np.asarray(Image.open(io.BytesIO(shown)))[64, 108].astype(int), GREY)


def tiff(values: np.ndarray) -> bytes:
    return encoded(Image.fromarray(values), "TIFF")


@pytest.mark.parametrize("kind", ["AVIF", "PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_broken_files_are_one_clear_error(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    for end in (20, 60, len(whole) // 3):
        with pytest.raises(ValueError, match="no picture that can be read"):
            by_client(tmp_path, whole[:end])
    torn = bytearray(whole)
    torn[40:80] = bytes(40)
    try:
        by_client(tmp_path, bytes(torn))
    except ValueError as error:
        assert "no picture that can be read" in str(error)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for side in (13_000, 60_000):
        with pytest.raises(ValueError, match="too many pixels"):
            by_client(tmp_path, png_that_claims(side))


def png_that_claims(side: int) -> bytes:
    """A small file whose header tells of so many pixels a side."""
    whole = encoded(Image.new("1", (64, 64)), "PNG")
    header = whole[12:16] + 2 * side.to_bytes(4, "big") + whole[24:29]
    return whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]
