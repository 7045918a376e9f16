"""Pictures from files: small, upright, without what else the file tells."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rollcast.client.picture_file import MAX_SIDE, load_picture
from rollcast.models.picture import MAX_BYTES, pixels, small_square

from ..pictures import BLUE, RED, encoded


def test_a_large_photograph_becomes_one_that_a_server_takes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3000, 4800, 3), dtype=np.uint8)
    file = tmp_path / "large.jpg"
    file.write_bytes(encoded(Image.fromarray(noise), quality=80))
    picture = load_picture(file)
    assert file.stat().st_size > MAX_BYTES > len(picture)
    assert Image.open(io.BytesIO(picture)).size == (MAX_SIDE, MAX_SIDE * 3000 // 4800)


def test_it_is_upright_and_its_camera_is_forgotten(tmp_path: Path) -> None:
    lying = Image.new("RGB", (300, 200), BLUE)
    lying.paste(RED, (0, 0, 30, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera of mine"
    file = tmp_path / "lying.jpg"
    file.write_bytes(encoded(lying, exif=exif))
    picture = load_picture(str(file))
    assert b"camera" not in picture
    assert Image.open(io.BytesIO(picture)).size == (200, 300)
    shown = pixels(small_square(encoded(Image.open(file)), 100))
    assert np.abs(shown[50, 2].astype(int) - BLUE).max() < 12


def test_what_is_no_picture_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such picture"):
        load_picture(tmp_path / "none.jpg")
    file = tmp_path / "words.jpg"
    file.write_text("hello")
    with pytest.raises(ValueError, match="give a JPEG or PNG"):
        load_picture(file)
