"""MDT-dist (arXiv 2509.04406): a mean velocity is matched to the teacher's, without a fake score.

phi(x, sigma) is the student's mean velocity from x to clean clips: x0 = x - sigma phi. Then
u = phi + sigma dphi/dsigma along the flow is its velocity at x itself. Velocity matching (VM,
equation 12) teaches u = v_R on noisy data: the derivative is a difference over `_STEP`, without
gradient. Velocity distillation (VD, equation 16) makes clips y = z - phi(z, 1), noises them again
and moves y by u - v_R there: the student is its own fake score. No network but teacher and student.

Whole clips at once are meant, as published: the mode of the student that VD trains is its
bidirectional one. A network that predicts x0 must meet x0 = x at no noise by what it learnt before:
a constant error of x0 is one that neither VM nor VD sees.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..loop import Losses
from .distillation import Distillation, ScoredTask, move
from .levels import along, noised

_STEP = 0.01
_LOWEST = 0.05
_SOFT = 0.1


class MeanVelocity(Distillation):
    """`matches` is VM, `distils` VD; `normed` shortens derivatives as the published code does."""

    def __init__(
        self,
        task: ScoredTask,
        *,
        matches: bool = True,
        distils: bool = True,
        normed: bool = False,
        guidance: float = 1.0,
    ) -> None:
        super().__init__(task)
        self.needs_data = True
        self._matches, self._distils, self._normed = matches, distils, normed
        self.guidance = guidance

    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses:
        losses: Losses = {}
        if self._matches:
            sigma = _levels(len(batch.latents))
            losses["matching"] = self.velocity_matching(student, batch, batch.latents, sigma)
        if self._distils:
            noise = torch.randn_like(batch.latents)
            made = self.task.score(student, batch, noise, torch.ones(len(noise)))
            losses["distilling"] = self.velocity_distillation(student, batch, made)
        return losses

    def velocity_matching(
        self, student: nn.Module, batch: Any, clips: Tensor, sigma: Tensor
    ) -> Tensor:
        """VM at noisy clips; scalar."""
        noisy = noised(clips, sigma)
        with torch.no_grad():
            target = self._teacher(batch, noisy, sigma)
            slope = self._slope(student, batch, noisy, sigma, target)
        mean = self._mean(student, batch, noisy, sigma)
        return (mean + along(sigma, mean) * slope - target).square().mean()

    def velocity_distillation(self, student: nn.Module, batch: Any, made: Tensor) -> Tensor:
        """VD of clips that the student has made in one step; scalar."""
        with torch.no_grad():
            sigma = _levels(len(made))
            noisy = noised(made, sigma)
            target = self._teacher(batch, noisy, sigma)
            slope = self._slope(student, batch, noisy, sigma, target)
            own = self._mean(student, batch, noisy, sigma) + along(sigma, noisy) * slope
        return move(made, own - target)

    def _teacher(self, batch: Any, noisy: Tensor, sigma: Tensor) -> Tensor:
        clean = self.guided(batch, noisy, sigma, self.guidance)
        return (noisy - clean) / along(sigma, noisy)

    def _mean(self, student: nn.Module, batch: Any, noisy: Tensor, sigma: Tensor) -> Tensor:
        return (noisy - self.task.score(student, batch, noisy, sigma)) / along(sigma, noisy)

    def _slope(
        self, student: nn.Module, batch: Any, noisy: Tensor, sigma: Tensor, velocity: Tensor
    ) -> Tensor:
        """How the mean velocity changes with the level along the teacher's flow."""
        here = self._mean(student, batch, noisy, sigma)
        there = self._mean(student, batch, noisy - _STEP * velocity, sigma - _STEP)
        slope = (here - there) / _STEP
        if not self._normed:
            return slope
        return slope / (slope.flatten(1).norm(dim=1)[:, None, None, None, None] + _SOFT)


def _levels(count: int) -> Tensor:
    """Logit-normal levels of mean 1 and spread 1."""
    return torch.sigmoid(1 + torch.randn(count)).clamp(_LOWEST, 0.999)
