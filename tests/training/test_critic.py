"""The critic's patches and losses: what they reward and what they do not see."""

import torch
import torch.nn.functional as F

from training.critic import PATCH, Critic, contrast_loss, critic_loss, patches_at, persuasion
from training.losses import choice_loss


def test_patches_stay_inside_the_frame_and_around_their_centre() -> None:
    frames = torch.arange(192.0).expand(3, 1, 192, 192)
    cut = patches_at(frames, torch.tensor([[96.0, 96.0], [-40.0, 5.0], [500.0, 191.0]]))
    assert cut.shape == (3, 1, PATCH, PATCH)
    assert [float(p[0, 0, 0]) for p in cut] == [96 - PATCH // 2, 0, 192 - PATCH]


def test_contrast_misses_blur_and_forgives_a_shift() -> None:
    torch.manual_seed(0)
    real = torch.rand(4, 3, PATCH, PATCH) * 2 - 1
    blurred = F.avg_pool2d(real, 3, 1, 1)
    assert float(contrast_loss(real, blurred)) > 3 * float(contrast_loss(real, real.roll(1, 3)))
    assert float(contrast_loss(real, real)) == 0


def test_a_critic_learns_to_tell_blur_and_its_maker_to_please_it() -> None:
    torch.manual_seed(0)
    critic = Critic(width=8)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3, betas=(0.5, 0.99))
    first = last = 0.0
    for step in range(40):
        real = torch.rand(8, 3, PATCH, PATCH) * 2 - 1
        loss = critic_loss(critic, real, F.avg_pool2d(real, 3, 1, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = (float(loss.detach()), last) if step == 0 else (first, float(loss.detach()))
    assert last < 0.8 * first
    real = torch.rand(8, 3, PATCH, PATCH) * 2 - 1
    sharp, _ = persuasion(critic, real, real)
    soft, match = persuasion(critic, real, F.avg_pool2d(real, 3, 1, 1))
    assert float(sharp.detach()) < float(soft.detach())
    assert float(match.detach()) > 0


def test_choice_is_taught_only_where_one_picture_alone_shows_it() -> None:
    closed = torch.tensor([[[[True, True, False, False]]]])
    opened = torch.tensor([[[[True, False, True, False]]]])
    logits = torch.zeros(1, 1, 1, 4, requires_grad=True)
    choice_loss(logits, closed, opened).backward()
    assert logits.grad is not None
    both, only_closed, only_open, none = logits.grad.flatten().tolist()
    assert both == none == 0
    assert only_closed > 0 > only_open
