"""f-distill (arXiv 2502.15681): DMD whose clips count by how likely the teacher holds them.

The gradient of an f-divergence of the noisy distributions is that of DMD times h(r) = f''(r) r^2
(theorem 1), r the ratio of the teacher's density to the student's at the noisy clip. A critic of
noisy clips, which DMD2's GAN has anyway, knows it: r = exp(logit). As in the published code ratios
are clipped, divided by their mean in each of ten bins of the noise level, and weights by theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .distillation import ScoredTask
from .dmd2 import DMD2

_RATIOS = (0.1, 20.0)
_BINS = 10

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rkl": torch.ones_like,
    "kl": lambda r: r,
    "js": lambda r: r / (1 + r),
    "hellinger": lambda r: r.sqrt() / 4,
    "jeffreys": lambda r: 1 + r,
}
"""h(r) of each divergence: reverse KL is DMD itself, the others seek modes less."""


class FDistill(DMD2):
    """`divergence` is one of `WEIGHTS`."""

    def __init__(
        self,
        task: ScoredTask,
        divergence: str = "js",
        *,
        guidance: float = 1.0,
        fake_updates: int = 3,
        fake_rate: float = 8e-4,
        critic_weight: float = 1e-3,
        critic_rate: float = 1e-3,
        shift: float = 3.0,
    ) -> None:
        if divergence not in WEIGHTS:
            raise ValueError(f"divergence {divergence!r}; expected one of {', '.join(WEIGHTS)}")
        super().__init__(
            task,
            guidance=guidance,
            fake_updates=fake_updates,
            fake_rate=fake_rate,
            critic_weight=critic_weight,
            critic_rate=critic_rate,
            shift=shift,
        )
        self._weight = WEIGHTS[divergence]

    def weigh(self, made: Tensor, noisy: Tensor, sigma: Tensor, batch: Any) -> Tensor:
        """Weights [B] whose mean is 1."""
        assert self.critic is not None
        ratio = levelled(self.critic(noisy, sigma, batch).exp().clamp(*_RATIOS), sigma)
        weight = self._weight(ratio)
        return weight / weight.mean()


def levelled(ratio: Tensor, sigma: Tensor) -> Tensor:
    """Ratios [B] over their mean among clips of a like noise level."""
    place = (sigma * _BINS).long().clamp(max=_BINS - 1)
    total = torch.zeros(_BINS).index_add(0, place, ratio)
    count = torch.zeros(_BINS).index_add(0, place, torch.ones_like(ratio))
    return ratio / (total / count.clamp(min=1))[place]
