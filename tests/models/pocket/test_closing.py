"""Lips of a brought picture are together before it is shown; closed ones are left alone."""

import numpy as np
from PIL import Image

from rollcast.models.face.finder import trace
from rollcast.models.pocket import closing
from rollcast.models.pocket.closing import with_closed_lips
from rollcast.models.pocket.evaluation.signals import to_signed
from rollcast.models.pocket.model import ASSETS
from rollcast.models.pocket.opening import lip_row


def _picture(name: str) -> np.ndarray:
    with Image.open(ASSETS / "looks" / f"{name}.webp") as image:
        return np.asarray(image.convert("RGB"))


def _gap(picture: np.ndarray) -> float:
    face = trace(picture[None], closing._AROUND)[0][0]
    return float(face[14, 1] - face[13, 1])


def test_closed_lips_and_pictures_of_no_face_stay_as_they_are() -> None:
    face = _picture("mei-gallery")
    kept, row = with_closed_lips(face)
    assert kept is face and row is not None
    assert 0 <= row - lip_row(to_signed(face[None].copy()), around=263) <= 4
    nobody = np.full((384, 384, 3), 90, np.uint8)
    kept, row = with_closed_lips(nobody)
    assert kept is nobody and row is None


def test_open_lips_come_together_and_the_rest_of_the_picture_stays() -> None:
    face = _picture("mei-gallery-open")
    closed, row = with_closed_lips(face)
    assert _gap(face) > 20
    assert _gap(closed) < 0.4 * _gap(face)
    assert row is not None and abs(row - 278) < 12
    apart = np.abs(closed.astype(int) - face).max(-1)
    assert not apart[:200].any() and apart[240:300, 150:230].max() > 40
