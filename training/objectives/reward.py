"""Re-DMD: sequences that score well count for more in distribution matching.

Each sample's loss is weighted by exp(reward / beta), beta a half (Reward Forcing, arXiv
2512.04678). What is rewarded is the task's to say.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from .contract import Task
from .distribution_matching import DistributionMatching

_BETA = 0.5


class RewardingTask(Task, Protocol):
    """A task that can say how good a sample is."""

    def reward(self, batch: Any, made: Tensor) -> Tensor:
        """Reward [B] of samples [B, F, C, h, w]."""
        ...


class RewardedMatching(DistributionMatching[RewardingTask]):
    """Distribution matching with weights whose mean over a batch is 1."""

    def weigh(self, made: Tensor, batch: Any) -> Tensor:
        """Weights [B] of samples [B, F, C, h, w]."""
        weight = (self.task.reward(batch, made) / _BETA).exp()
        return weight / weight.mean()
