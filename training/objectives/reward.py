"""Re-DMD: sequences that score well count for more in distribution matching.

Each sample's loss is weighted by exp(reward / beta), beta a half (Reward Forcing, arXiv
2512.04678). The reward here is how well the drawn mouth follows the truth, less what the amount
of motion lacks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..sequences import Batch
from ..task import change
from .distribution_matching import DistributionMatching

_BETA = 0.5


class RewardedMatching(DistributionMatching):
    """Distribution matching with weights whose mean over a batch is 1."""

    def weigh(self, made: Tensor, batch: Batch) -> Tensor:
        """Weights [B] of samples [B, F, 112, 8, 8]."""
        reward = self._lip_sync(made, batch) - self._lost_motion(made, batch)
        weight = (reward / _BETA).exp()
        return weight / weight.mean()

    def _lip_sync(self, made: Tensor, batch: Batch) -> Tensor:
        """Correlation [B] of the opening read from the pictures with the true one; 0 in scenes."""
        task, length = self.task, 4 * made.shape[1]
        scores = torch.zeros(len(made))
        for n in task.references.is_avatar[batch.look].nonzero()[:, 0].tolist():
            one = slice(n, n + 1)
            read = task.meter(task.decode(made[one], batch.look[one]).float())
            start = int(batch.start[n])
            true = task.train.clips.lip_gap[batch.clip[n], start : start + length]
            if float(true.std()) > 1e-3 and float(read.std()) > 1e-3:
                scores[n] = torch.corrcoef(torch.stack([read, true]))[0, 1]
        return scores

    def _lost_motion(self, made: Tensor, batch: Batch) -> Tensor:
        """Share [B] of the truth's change from frame to frame that is missing or too much."""
        amounts = [change(x) for x in (made, batch.latents)]
        return (amounts[0] / amounts[1].clamp(min=1e-3) - 1).abs().clamp(max=1)
