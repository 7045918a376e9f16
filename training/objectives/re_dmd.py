"""Re-DMD (Reward Forcing, arXiv 2512.04678): clips that score well count for more in DMD2.

Each clip's loss is weighted by exp(reward / beta), beta = 1/2. Published weights are not
normalised: with a batch of one a mean would undo them, so the rate of learning grows with the
reward. `normalised` divides by the mean of the batch, which leaves which clips count and takes
that growth away. The distribution that is aimed at is p exp(r / beta), which the toy world knows.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .dmd2 import DMD2


class ReDMD(DMD2):
    """DMD2 with weights by the `reward` of its task (`reward.RewardingTask`)."""

    def __init__(
        self,
        task: Any,
        *,
        beta: float = 0.5,
        normalised: bool = True,
        guidance: float = 1.0,
        fake_updates: int = 3,
        fake_rate: float = 8e-4,
        shift: float = 3.0,
    ) -> None:
        super().__init__(
            task, guidance=guidance, fake_updates=fake_updates, fake_rate=fake_rate, shift=shift
        )
        self._reward = task.reward
        self._beta, self._normalised = beta, normalised

    def weigh(self, made: Tensor, noisy: Tensor, sigma: Tensor, batch: Any) -> Tensor:
        """Weights [B]."""
        weight = (self._reward(batch, made) / self._beta).exp()
        return weight / weight.mean() if self._normalised else weight
