"""People with photographs: the same for the same number, with every kind of mouth."""

from training.data.held_out import FIRST
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
