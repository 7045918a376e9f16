"""People with photographs: the same for the same number, with every kind of mouth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rollcast.models.face.finder import find
from rollcast.models.face.placement import EYES, LIPS
from rollcast.models.pocket.closing import with_closed_lips
from rollcast.models.pocket.looks import GUIDE
from training.data.held_out import FIRST, draw_portraits
from training.data.plan import PRESETS
from training.data.visitors import MOUTHS, visitor


def test_a_number_is_a_person_with_a_photograph() -> None:
    assert visitor(3) == visitor(3)
    people = [visitor(k) for k in range(12)]
    assert len({who.skin for who in people}) == 12
    assert all(who.photograph is not None and not who.words for who in people)
    angles = sorted(abs(who.outfits[0].light_deg) for who in people)
    assert angles[0] < 30 and angles[-1] > 50, "light from the front and from a side"


def test_mouths_of_pictures() -> None:
    shown = {}
    for mouth in MOUTHS:
        taken = visitor(7, mouth).photograph
        assert taken is not None
        shown[mouth] = taken.worn
    assert not shown["closed"]
    assert shown["smiling"]["mouthUpperUpLeft"] > 0.5
    assert shown["apart"]["jawOpen"] > 0
    assert "mouthSmileLeft" in visitor(7, "smiling").rest, "the smile stays when the lips close"


def test_those_who_are_held_out_are_in_no_training() -> None:
    assert max(preset.visitors for preset in PRESETS.values()) < FIRST


@pytest.mark.usefixtures("render_tools")
def test_a_smile_is_closed_and_lies_where_streams_want_it(tmp_path: Path) -> None:
    (closed, smiling) = draw_portraits(tmp_path, 1)
    gaps = []
    for path in (closed, smiling):
        taken = np.asarray(Image.open(path))
        face = find(Image.fromarray(taken)).face
        assert face is not None
        at = face.points / 384
        eyes = np.array([at[list(pair)].mean(0) for pair in EYES])
        assert np.abs(eyes - np.array(GUIDE.eyes)).max() < 0.03
        gaps.append(at[LIPS[1], 1] - at[LIPS[0], 1])
        again = find(Image.fromarray(with_closed_lips(taken)[0])).face
        assert again is not None
        gaps.append((again.points[LIPS[1], 1] - again.points[LIPS[0], 1]) / 384)
    assert gaps[2] > 0.02 and max(gaps[0], gaps[1], gaps[3]) < 0.5 * gaps[2]
