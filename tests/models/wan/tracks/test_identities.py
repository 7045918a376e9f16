"""Numbers by which points are told apart."""

from __future__ import annotations

import pytest
import torch

from rollcast.models.wan.tracks.identities import Identities


def test_they_are_drawn_as_published() -> None:
    order = torch.randperm(100_000, generator=torch.Generator().manual_seed(7))
    made = Identities(2500, 100_000, seed=7)
    assert made.ids.tolist() == order[:2500].tolist()
    made.renew([3, 2000])
    assert made.ids[[3, 2000]].tolist() == order[2500:2502].tolist()


def test_nobody_ever_shares_one_and_they_come_again_only_when_all_were_given() -> None:
    made = Identities(4, 11, seed=1)
    seen = made.ids.tolist()
    for turn in range(30):
        made.renew([turn % 4])
        assert len(set(made.ids.tolist())) == 4
        seen.append(int(made.ids[turn % 4]))
    assert sorted(seen[:11]) == list(range(11))


def test_they_go_on_where_they_were() -> None:
    made, other = Identities(5, 40, seed=3), Identities(5, 40, seed=3)
    made.renew([0, 4, 0])
    other.load(made.ids, made.given)
    made.renew([1, 2])
    other.renew([1, 2])
    assert made.ids.tolist() == other.ids.tolist() and made.given == other.given


def test_more_points_than_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="9 points for 9 identities"):
        Identities(9, 9, seed=0)
