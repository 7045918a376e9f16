"""Clips are drawn from the law, and from nothing but their seed."""

import torch

from training.toy_world.law import NODES, OUTCOMES, TRANSITIONS
from training.toy_world.picture import BACKGROUND, pack, shown, unpack
from training.toy_world.world import CHUNKS, Prompt, sample


def test_a_seed_gives_the_same_clips_and_another_one_others() -> None:
    clips = [
        sample(Prompt.each(6), generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    ]
    assert torch.equal(clips[0].latents, clips[1].latents)
    assert not torch.equal(clips[0].latents, clips[2].latents)
    assert clips[0].latents.shape == (6, CHUNKS, 12, 12, 12)


def test_what_happens_is_as_frequent_as_the_law_says() -> None:
    clips = sample(Prompt.each(1500), 8, torch.Generator().manual_seed(3))
    mood = clips.prompt.mood[:, None].expand(-1, 7)
    seen = torch.zeros(3, NODES, OUTCOMES, OUTCOMES)
    where = mood, clips.node[:, :-1], clips.outcome[:, :-1], clips.outcome[:, 1:]
    seen.index_put_(where, torch.ones(where[0].shape), accumulate=True)
    total = seen.sum(-1, keepdim=True)
    often = total[..., 0] > 100
    assert int(often.sum()) > 40
    apart = (seen / total.clamp(min=1) - TRANSITIONS).abs().sum(-1)[often] / 2
    assert float(apart.max()) < 0.16 and float(apart.mean()) < 0.05
    assert float(seen[TRANSITIONS == 0].sum()) == 0


def test_a_sprite_stays_within_the_walls_and_keeps_its_looks() -> None:
    clips = sample(Prompt.each(60), 12, torch.Generator().manual_seed(4))
    assert float(clips.centre.min()) > 1 and float(clips.centre.max()) < 11
    # the brightest colour of a clip is the same in every picture
    colours = unpack(clips.latents).flatten(3)
    extreme = colours.abs().amax(-1)
    assert float((extreme - extreme[:, :1]).abs().max()) < 0.3


def test_pictures_lie_in_latents_one_behind_another() -> None:
    pictures = torch.randn(2, 8, 3, 12, 12)
    assert torch.equal(unpack(pack(pictures)), pictures)
    assert torch.equal(pack(pictures)[:, 1, 3:6], pictures[:, 5])
    background = torch.full((1, 4, 3, 12, 12), (BACKGROUND + 1) / 2)
    torch.testing.assert_close(shown(torch.zeros(1, 1, 12, 12, 12)), background)
