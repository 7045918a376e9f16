"""The law of the toy world: odds that add up, walls that turn back, hues of their palette."""

import pytest
import torch

from training.toy_world.law import (
    CENTRES,
    FIRST,
    ODDS,
    PALETTES,
    STAY,
    TRANSITIONS,
    draw_hue,
    hue_density,
    hue_gap,
)

_RIGHT = 2


def test_odds_add_up() -> None:
    for table in (TRANSITIONS, FIRST):
        torch.testing.assert_close(table.sum(-1), torch.ones(table.shape[:-1]))


def test_in_the_middle_a_move_is_followed_by_the_odds_of_its_mood() -> None:
    after = TRANSITIONS[:, 4, _RIGHT]
    # stay, up (left of it), right (on), down (right of it), left (back)
    expected = torch.stack([ODDS[:, 0], ODDS[:, 2], ODDS[:, 1], ODDS[:, 3], 0 * ODDS[:, 0]], 1)
    torch.testing.assert_close(after, expected)


def test_a_wall_sends_back() -> None:
    """In the corner at the top right, behind a move to the right: on and left are walls."""
    after = TRANSITIONS[0, 2, _RIGHT]
    torch.testing.assert_close(after, torch.tensor([0.55, 0.0, 0.0, 0.2, 0.25]))


def test_behind_a_stay_all_ways_are_alike() -> None:
    torch.testing.assert_close(TRANSITIONS[1, 4, STAY], torch.tensor([0.1, *[0.225] * 4]))


@pytest.mark.parametrize("palette", range(len(PALETTES)))
def test_hues_follow_their_density(palette: int) -> None:
    cells = (torch.arange(20) + 0.5) / 20
    expected = hue_density(cells, palette) / 20
    assert float(hue_density(torch.arange(1000) / 1000, palette).mean()) == pytest.approx(
        1, rel=1e-4
    )
    drawn = draw_hue(torch.full((40_000,), palette), torch.Generator().manual_seed(2))
    share = torch.histc(drawn, 20, 0, 1) / len(drawn)
    # a share of .12 at most strays by .0016
    assert float((share - expected).abs().max()) < 0.008
    assert float(hue_gap(drawn, CENTRES[palette]).mean()) < 0.15
