"""Random people: the same for the same number, different from each other, not in the prompt."""

from training.data.identities import IDENTITIES
from training.data.strangers import stranger


def test_a_number_is_a_person() -> None:
    assert stranger(3) == stranger(3)
    people = [stranger(k) for k in range(12)]
    assert len({who.skin for who in people}) == 12
    assert len({who.outfits[0].name for who in people}) == 12
    assert all(len(who.outfits) == 1 and not who.words for who in people)


def test_strangers_are_of_all_skins_and_of_both_sexes() -> None:
    people = [stranger(k) for k in range(24)]
    brightness = sorted(sum(who.skin) for who in people)
    assert brightness[0] < 1.2 and brightness[-1] > 2.0
    women = sum(any("female" in name for name in who.macro) for who in people)
    assert 5 < women < 19


def test_shapes_add_up() -> None:
    for k in range(8):
        bodies = [w for name, w in stranger(k).macro.items() if name.startswith("universal")]
        assert abs(sum(bodies) - 1) < 1e-6


def test_nobody_has_the_name_of_one_who_ships() -> None:
    assert not {who.name for who in IDENTITIES} & {stranger(k).name for k in range(30)}
