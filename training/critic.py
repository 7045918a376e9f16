"""A small critic of picture patches, and what it teaches: hinge losses of a patch GAN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 48


class Critic(nn.Module):
    """Patches [N, 3, 48, 48] in -1..1 -> how real each part of them looks [N, 1, 6, 6].

    Spectral normalisation keeps it from winning too early (arXiv 1802.05957).
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.layers = nn.Sequential(
            norm(nn.Conv2d(3, width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(4 * width, 1, 3, padding=1)),
        )

    def forward(self, patches: Tensor) -> Tensor:
        return self.layers(patches)

    def features(self, patches: Tensor) -> list[Tensor]:
        """What its inner layers see, for feature matching."""
        seen, x = [], patches
        for layer in list(self.layers)[:-1]:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                seen.append(x)
        return seen


def critic_loss(critic: Critic, real: Tensor, made: Tensor) -> Tensor:
    """Hinge loss of the critic on equally many real and made patches."""
    scores = critic(torch.cat([real, made.detach()]))
    on_real, on_made = scores.chunk(2)
    return F.relu(1 - on_real).mean() + F.relu(1 + on_made).mean()


def persuasion(critic: Critic, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """What the maker of pictures is taught: to please the critic, and to look to it as real."""
    with torch.no_grad():
        wanted = critic.features(real)
    match = torch.stack(
        [F.l1_loss(a, b) for a, b in zip(critic.features(made), wanted, strict=True)]
    )
    return -critic(made).mean(), match.mean()


def contrast_loss(real: Tensor, made: Tensor) -> Tensor:
    """Difference of local detail, whatever its exact place.

    Root mean square of the Laplacian over 8x8 neighbourhoods of [N, 3, H, W]: an average picture
    is blurred, and neither a shift by a pixel nor another highlight is.
    """
    return (_detail(real) - _detail(made)).abs().mean()


def _detail(frames: Tensor) -> Tensor:
    grey = frames.float().mean(1, keepdim=True)
    around = F.avg_pool2d(grey, 3, 1, 1)
    return (F.avg_pool2d((grey - around).square(), 8, 4) + 1e-5).sqrt()


def patches_at(frames: Tensor, centres: Tensor) -> Tensor:
    """Patches [N, 3, 48, 48] of frames [N, 3, H, W] around `centres` px [N, 2] (x, y)."""
    height, width = frames.shape[-2:]
    cut = []
    for frame, (x, y) in zip(frames, centres.round().int().tolist(), strict=True):
        left = min(max(0, x - PATCH // 2), width - PATCH)
        top = min(max(0, y - PATCH // 2), height - PATCH)
        cut.append(frame[:, top : top + PATCH, left : left + PATCH])
    return torch.stack(cut)
