"""Faces laid as a model wants them: by construction, in the page's words, in real pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rollcast.models.contract import PictureGuide
from rollcast.models.face.finder import Square, find
from rollcast.models.face.networks import load
from rollcast.models.face.placement import WORDS, flaws, placed
from rollcast.models.face.portrait import portrait, square_of
from rollcast.models.picture import pixels
from rollcast.models.picture import placed as placed_file
from rollcast.models.pocket.looks import GUIDE
from rollcast.models.pocket.model import ASSETS

from ...pictures import encoded

FACES = Path(__file__).parents[2] / "fixtures" / "face"
VECTORS: dict[str, Any] = json.loads((FACES / "vectors.json").read_text())
PEOPLE = ["amara-office", "kofi-news", "mei-gallery", "oscar-library", "ravi-stage"]


def photograph() -> Image.Image:
    return Image.open(FACES / "portrait.jpg").convert("RGB")


def features(picture: Image.Image) -> np.ndarray:
    """Middles of eyes and mouth [3, 2], 0..1, as they are found anew."""
    face = find(picture).face
    assert face is not None
    points = face.points / picture.size
    return np.array([points[pair].mean(0) for pair in ([33, 133], [362, 263], [13, 14])])


@pytest.mark.parametrize("name", ["detector", "mesh"])
def test_networks_compute_what_their_publishers_runtime_does(name: str) -> None:
    expected = json.loads((FACES / "networks.json").read_text())[name]
    net = load(name)
    k = np.arange(3 * net.side**2)
    picture = ((np.sin(k / 97) + np.sin(k / 8009)) / 4 + 0.5).astype(np.float32)
    for output, values in zip(
        net(picture.reshape(1, net.side, net.side, 3)), expected, strict=True
    ):
        # float32 sums in another order, of values up to 200
        assert np.abs(output.reshape(-1)[::37] - values).max() < 2e-3


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_a_face_is_cut_out_so_that_it_lies_as_wanted(case: dict[str, Any]) -> None:
    guide = PictureGuide(**VECTORS["guide"])
    points = np.zeros((468, 2), np.float32)
    for k, point in case["points"].items():
        points[int(k)] = point
    part, wanted = placed(points, guide), case["placed"]
    for key in ("x", "y", "side"):
        assert getattr(part, key) == pytest.approx(wanted[key], abs=1e-4)
    assert np.cos(part.angle - wanted["angle"]) == pytest.approx(1)
    found = flaws(points, case["presence"], case["light"], case["count"])
    assert found == case["flaws"]


def test_server_and_page_use_the_same_words() -> None:
    assert VECTORS["words"] == WORDS


@pytest.mark.slow
def test_a_photograph_is_found_and_laid_as_the_looks_lie() -> None:
    tilted = photograph().rotate(25, Image.Resampling.BICUBIC, expand=True)
    wide = Image.new("RGB", (900, 600), (90, 120, 90))
    wide.paste(tilted, (500, 200))
    square, wrong = portrait(wide, GUIDE)
    assert square is not None and wrong == ["open"]
    wanted = np.array([*GUIDE.eyes, GUIDE.mouth])
    assert np.abs(features(square) - wanted).max() < 0.02
    dark, wrong = portrait(photograph().point(lambda level: level * 0.2), GUIDE)
    assert dark is not None and "dark" in wrong


@pytest.mark.parametrize("name", PEOPLE)
def test_a_look_stays_where_it_is(name: str) -> None:
    look = Image.open(ASSETS / "looks" / f"{name}.webp").convert("RGB")
    face = find(look).face
    assert face is not None
    part = placed(face.points, GUIDE)
    assert (part.x, part.y) == pytest.approx((192, 192), abs=9)
    # lips of the women are higher than those of the men, on average where the guide has them
    assert part.side == pytest.approx(384, rel=0.08)
    assert part.angle == pytest.approx(0, abs=0.02)


def test_the_largest_of_several_is_taken() -> None:
    look = Image.open(ASSETS / "looks" / "kofi-news.webp").convert("RGB")
    two = Image.new("RGB", (700, 384), (90, 120, 90))
    two.paste(photograph(), (10, 60))
    two.paste(look, (316, 0))
    square, wrong = portrait(two, GUIDE)
    assert square is not None and "several" in wrong
    assert np.abs(np.asarray(square).astype(int) - np.asarray(look)).mean() < 25


def test_without_a_face_a_file_is_cut_in_its_middle_and_a_placed_one_stays() -> None:
    grey = Image.linear_gradient("L").resize((500, 400)).convert("RGB")
    square, wrong = placed_file(encoded(grey, "PNG"), GUIDE)
    assert wrong == ["none"] and pixels(square).shape == (384, 384, 3)
    by_hand = Image.new("RGB", (384, 384), (90, 120, 90))
    by_hand.paste(photograph(), (128, 128))
    kept, wrong = placed_file(encoded(by_hand, "PNG"), GUIDE)
    assert wrong == []
    assert np.abs(pixels(kept).astype(int) - np.asarray(by_hand)).mean() < 3


def test_what_surrounds_a_picture_goes_on_with_its_edges() -> None:
    picture = Image.new("RGB", (100, 80), (200, 40, 40))
    whole = np.asarray(square_of(picture, Square(10, 10, 160, 0.3), 64))
    assert np.abs(whole.astype(int) - (200, 40, 40)).max() <= 2


def test_turned_by_its_camera_a_photograph_is_upright_first() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    photograph().rotate(90, expand=True).save(buffer, "JPEG", quality=92, exif=exif)
    square, wrong = placed_file(buffer.getvalue(), GUIDE)
    assert wrong == ["open"]
    shown = features(Image.fromarray(pixels(square)))
    assert np.abs(shown - np.array([*GUIDE.eyes, GUIDE.mouth])).max() < 0.02
