"""The network that reads expressions learns, and is the same whatever was drawn before it."""

import pytest
import torch

from training.expressions import train_expressions, vary


def _spots(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright spot above or below: faces uint8 [count, 96, 96, 3] and which [count]."""
    noise = torch.randint(0, 60, (count, 96, 96, 3), dtype=torch.uint8)
    which = torch.arange(count) % 2
    noise[which == 0, 15:35, 35:60] = 220
    noise[which == 1, 60:80, 35:60] = 220
    return noise, which


def test_varied_faces_keep_their_shape_and_are_not_what_they_were() -> None:
    torch.manual_seed(0)
    faces = 2 * torch.rand(7, 3, 96, 96) - 1
    seen = vary(faces)
    assert seen.shape == faces.shape
    assert bool(((seen - faces).abs().mean((1, 2, 3)) > 0.05).all())


@pytest.mark.long
@pytest.mark.training
def test_it_learns() -> None:
    torch.manual_seed(1)
    faces, which = _spots(40)
    net = train_expressions(faces, which, 2, 14)
    told = net.read(faces.movedim(-1, 1).float() / 127.5 - 1).argmax(1)
    assert float((told == which).float().mean()) > 0.9


def test_what_is_drawn_before_it_changes_nothing() -> None:
    faces, which = _spots(10)
    first = train_expressions(faces, which, 2, 1)
    torch.rand(3)
    again = train_expressions(faces, which, 2, 1)
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert one.equal(other)
