"""Distances of two sets of points that know nothing of the world."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_PROJECTIONS, _FREQUENCIES = 256, 512
_SCALES = (0.5, 1.0, 2.0)
_LEARNED, _ASCENTS, _ASCENT_RATE = 64, 60, 0.1


def sliced_wasserstein(one: Tensor, other: Tensor, seed: int = 99) -> float:
    """Sliced 2-Wasserstein distance of points [n, D] and [m, D], over random directions.

    Root of the mean square over directions; of the larger set the first rows count.
    """
    count = min(len(one), len(other))
    generator = torch.Generator().manual_seed(seed)
    directions = F.normalize(torch.randn(_PROJECTIONS, one.shape[1], generator=generator), dim=1)
    lines = [(x[:count] @ directions.T).sort(0).values for x in (one, other)]
    return float((lines[0] - lines[1]).square().mean().sqrt())


def _characteristic(points: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part [k] of mean exp(i <t, x>) (equation 1 of NCFM, arXiv 2502.20653)."""
    angle = points @ frequencies.T
    return angle.cos().mean(0), angle.sin().mean(0)


def discrepancy(one: Tensor, other: Tensor, frequencies: Tensor) -> Tensor:
    """Mean square distance of characteristic functions at `frequencies` [k, D]; scalar."""
    (a, b), (c, d) = _characteristic(one, frequencies), _characteristic(other, frequencies)
    return ((a - c).square() + (b - d).square()).mean()


def amplitude_and_phase(one: Tensor, other: Tensor, frequencies: Tensor) -> Tensor:
    """NCFM's own loss: mean over t of sqrt(amplitude part / 2 + phase part / 2), scalar.

    (|p| - |q|)^2 and 2 (|p| |q| - Re p q*): at equal weights their sum is |p - q|^2.
    """
    (a, b), (c, d) = _characteristic(one, frequencies), _characteristic(other, frequencies)
    p, q = (a.square() + b.square()).sqrt(), (c.square() + d.square()).sqrt()
    inner = 0.5 * (p - q).square() + (p * q - a * c - b * d)
    return inner.clamp(min=1e-12).sqrt().mean()


def fixed_frequencies(one: Tensor, other: Tensor, seed: int = 7) -> float:
    """Root of the discrepancy of whitened points at normal frequencies of three scales."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(_FREQUENCIES, one.shape[1], generator=generator)
    scale = torch.tensor(_SCALES)[torch.arange(_FREQUENCIES) % len(_SCALES)]
    drawn = drawn * scale[:, None] / one.shape[1] ** 0.5
    return float(discrepancy(one, other, drawn).sqrt())


def learned_frequencies(one: Tensor, other: Tensor, seed: int = 8) -> float:
    """The same at frequencies that were pushed to where the two differ most.

    They are learnt on one half of the points and measured on the other: on the points they were
    learnt on any two sets differ.
    """
    generator = torch.Generator().manual_seed(seed)
    width = one.shape[1]
    drawn = torch.randn(_LEARNED, width, generator=generator) / width**0.5
    drawn.requires_grad_(True)
    optimizer = torch.optim.Adam([drawn], _ASCENT_RATE / width**0.5)
    with torch.enable_grad():
        for _ in range(_ASCENTS):
            optimizer.zero_grad()
            (-discrepancy(one[::2], other[::2], drawn)).backward()
            optimizer.step()
    with torch.no_grad():
        return float(discrepancy(one[1::2], other[1::2], drawn).sqrt())
