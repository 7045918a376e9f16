"""The fake score: a network that keeps learning what the student's clips look like."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .distillation import ScoredTask
from .levels import along

_LEAST_LEVEL = 0.3
"""Below it errors of x0 count no more: the loss is one of velocities above."""


class FakeScore:
    """Learns on a time scale of its own (DMD2, arXiv 2405.14867, section 4.2)."""

    def __init__(self, task: ScoredTask, rate: float = 8e-4) -> None:
        self._task = task
        self.network = task.new_score()
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), rate, betas=(0.0, 0.99), weight_decay=0.0
        )

    def __call__(
        self, batch: Any, noisy: Tensor, sigma: Tensor, *, prompted: bool = True
    ) -> Tensor:
        """What the student's clips look like at `noisy`."""
        return self._task.score(self.network, batch, noisy, sigma, prompted=prompted)

    def learn(
        self,
        batch: Any,
        noisy: Tensor,
        sigma: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *,
        prompted: bool = True,
    ) -> float:
        """One step towards `target` at `noisy`, weighted by clip [B]; its loss."""
        with torch.enable_grad():
            seen = self(batch, noisy, sigma, prompted=prompted)
            error = (seen - target.detach()) / along(sigma, seen).clamp(min=_LEAST_LEVEL)
            each = error.square().flatten(1).mean(1)
            loss = (each if weight is None else weight * each).mean()
            self._optimizer.zero_grad()
            loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        return float(loss.detach())


def lag(real: Tensor, fake: Tensor, made: Tensor) -> dict[str, float]:
    """How far the fake score is from the real one, and whether it is merely late.

    `gap`: rms of their difference over that of the real score's from the sample; `cosine` of the
    two scores' directions. A student that has converged has a small gap and a cosine near 1, a
    fake score that is too slow has a cosine below that of a network which knows the samples.
    """
    ours, theirs = (real - made).flatten(), (fake - made).flatten()
    gap = (ours - theirs).square().mean().sqrt() / ours.square().mean().sqrt().clamp(min=1e-8)
    cosine = torch.nn.functional.cosine_similarity(ours, theirs, dim=0)
    return {"gap": float(gap.detach()), "cosine": float(cosine.detach())}
