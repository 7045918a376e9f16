"""Sites that share weights or learned clips, and what tells whether something leaks."""

import torch

from training.toy_world.law import MOODS, NO_MOOD
from training.toy_world.network import ToyNetwork
from training.toy_world.sites import (
    averaged,
    joined,
    learned_clips,
    nearness,
    private_clips,
    ranked,
    without_moods,
)


def test_a_student_without_moods_is_told_the_same_by_all_of_them() -> None:
    student = without_moods(ToyNetwork(24, 1))
    words = student.mood.weight
    assert all(torch.equal(words[mood], words[NO_MOOD]) for mood in range(len(MOODS)))


def test_the_average_is_that_of_all_sites() -> None:
    networks = [ToyNetwork(24, 1) for _ in range(3)]
    mean = averaged(networks)
    for name, weight in mean.named_parameters():
        each = [dict(network.named_parameters())[name] for network in networks]
        torch.testing.assert_close(weight, sum(each) / 3)


def test_a_copy_is_near_and_what_is_new_is_not() -> None:
    torch.manual_seed(1)
    own, fresh, new = (joined([private_clips(k, 24) for k in range(3)]).latents for _ in range(3))
    assert own is not None and fresh is not None and new is not None
    assert nearness(own[:8], own, fresh) < 0.01
    assert 0.8 < nearness(new, own, fresh) < 1.25


def test_members_are_told_by_rank() -> None:
    assert ranked(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])) == 1.0
    assert ranked(torch.tensor([1.0, 1.0]), torch.tensor([1.0])) == 0.5


def test_learned_clips_come_nearer_to_the_mean_of_their_site() -> None:
    torch.manual_seed(2)
    site = private_clips(0, 24)
    assert site.latents is not None
    mean = site.latents.mean(0)

    def gap(updates: int) -> float:
        torch.manual_seed(3)
        clips = learned_clips(site, 4, updates).latents
        assert clips is not None
        return float((clips.mean(0) - mean).square().mean())

    assert gap(30) < 0.9 * gap(0)
