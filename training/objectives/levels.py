"""Noise levels and steps between them: x_sigma = (1 - sigma) x0 + sigma noise."""

from __future__ import annotations

import torch
from torch import Tensor


def along(sigma: Tensor | float, like: Tensor) -> Tensor:
    """`sigma` (one, or [B]) so that it goes with `like` [B, ...]."""
    return torch.as_tensor(sigma, dtype=like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def noised(sample: Tensor, sigma: Tensor | float, noise: Tensor | None = None) -> Tensor:
    """`sample` at `sigma`, with fresh noise unless some is given."""
    s = along(sigma, sample)
    return (1 - s) * sample + s * (torch.randn_like(sample) if noise is None else noise)


def noise_in(noisy: Tensor, sample: Tensor, sigma: Tensor | float) -> Tensor:
    """The noise that `noisy` at `sigma` has in it, if `sample` is the clean one."""
    s = along(sigma, noisy)
    return (noisy - (1 - s) * sample) / s


def stepped(
    noisy: Tensor, sample: Tensor, now: float, then: float, *, deterministic: bool
) -> Tensor:
    """From level `now` to the lower `then`: with the same noise (Euler's step), or a fresh one."""
    noise = noise_in(noisy, sample, now) if deterministic else None
    return sample if then == 0 else noised(sample, then, noise)


def raised(point: Tensor, low: float, sigma: Tensor, noise: Tensor | None = None) -> Tensor:
    """A point of level `low` at the higher levels `sigma` [B]: what noise makes of it on the way.

    Phased DMD's alpha = (1 - sigma) / (1 - low), beta^2 = sigma^2 - alpha^2 low^2.
    """
    alpha, beta = raising(low, along(sigma, point))
    return alpha * point + beta * (torch.randn_like(point) if noise is None else noise)


def raising(low: float, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of the point and of fresh noise in `raised`."""
    alpha = (1 - sigma) / (1 - low)
    return alpha, (sigma**2 - alpha**2 * low**2).clamp(min=0).sqrt()


def shifted(share: Tensor, shift: float) -> Tensor:
    """Levels 0..1 with more of them at high noise (the published `shift`)."""
    return shift * share / (1 + (shift - 1) * share)


def drawn_levels(count: int, shift: float = 3.0, low: float = 0.02, high: float = 0.98) -> Tensor:
    """A level for each of `count` clips."""
    return shifted(torch.rand(count), shift).clamp(low, high)


def levels_between(count: int, low: float, high: float) -> Tensor:
    """A level for each of `count` clips, uniform within these."""
    return low + (high - low) * torch.rand(count)
