"""What happens is read from pictures alone, and what is no path of the world is seen as such."""

import pytest
import torch

from training.toy_world.law import hue_gap
from training.toy_world.reading import ILLEGAL, read_moves, read_pictures
from training.toy_world.world import Clips, Prompt, sample


@pytest.fixture(scope="module")
def clips() -> Clips:
    return sample(Prompt.each(48), generator=torch.Generator().manual_seed(5))


def test_true_clips_are_read_as_they_are(clips: Clips) -> None:
    pictures = read_pictures(clips.latents)
    assert pictures.clear.all()
    assert (pictures.shape == clips.shape[:, None]).all()
    assert float((pictures.centre - clips.centre).norm(dim=-1).max()) < 0.2
    assert float(hue_gap(pictures.hue, clips.hue[:, None]).max()) < 1e-3
    moves = read_moves(pictures)
    assert torch.equal(moves.outcome, clips.outcome[:, 1:])
    assert torch.equal(moves.before, clips.node[:, :-1])
    moved = moves.outcome > 0
    assert float((moves.arc - clips.arc[:, 1:])[moved].abs().max()) < 0.2


@pytest.mark.parametrize("fault", ["blank", "blurred", "two", "jump", "backwards", "grey"])
def test_what_no_law_explains_is_illegal(clips: Clips, fault: str) -> None:
    x = clips.latents
    wrong = {
        "blank": torch.zeros_like(x),
        "blurred": x.mean(0, keepdim=True).expand_as(x),
        "two": torch.maximum(x, x.roll(1, 0)),
        "jump": x.roll(1, 0).where(torch.arange(6)[:, None, None, None] % 2 == 0, x),
        # the pictures of a chunk in reverse: it moves, but not from where it was
        "backwards": x.unflatten(2, (4, 3)).flip(2).flatten(2, 3),
        "grey": x.unflatten(2, (4, 3))
        .mean(3, keepdim=True)
        .expand(-1, -1, -1, 3, -1, -1)
        .flatten(2, 3),
    }[fault]
    outcome = read_moves(read_pictures(wrong)).outcome
    assert float((outcome == ILLEGAL).float().mean()) > 0.7
