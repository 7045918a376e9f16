"""What Re-DMD rewards in the embedded model: a mouth that follows, and motion that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rollcast.models.pocket.conditions import unpack_latents

from .sequences import Batch

if TYPE_CHECKING:
    from .task import TrainingTask


def lip_reward(task: TrainingTask, batch: Batch, made: Tensor) -> Tensor:
    """Reward [B] of samples [B, F, 112, 8, 8]: lip-sync less what the amount of motion lacks."""
    return _lip_sync(task, made, batch) - _lost_motion(made, batch)


def _lip_sync(task: TrainingTask, made: Tensor, batch: Batch) -> Tensor:
    """Correlation [B] of the opening read from the pictures with the true one; 0 in scenes."""
    length = 4 * made.shape[1]
    scores = torch.zeros(len(made))
    for n in task.references.is_avatar[batch.look].nonzero()[:, 0].tolist():
        one = slice(n, n + 1)
        read = task.meter(task.decode(made[one], batch.look[one]).float())
        start = int(batch.start[n])
        true = task.train.clips.lip_gap[batch.clip[n], start : start + length]
        if float(true.std()) > 1e-3 and float(read.std()) > 1e-3:
            scores[n] = torch.corrcoef(torch.stack([read, true]))[0, 1]
    return scores


def _lost_motion(made: Tensor, batch: Batch) -> Tensor:
    """Share [B] of the truth's change from frame to frame that is missing or too much."""
    amounts = [change(x) for x in (made, batch.latents)]
    return (amounts[0] / amounts[1].clamp(min=1e-3) - 1).abs().clamp(max=1)


def change(packed: Tensor) -> Tensor:
    """Mean absolute change [B] from frame to frame of latents [B, F, 112, 8, 8]."""
    frames = unpack_latents(packed)
    return (frames[:, 1:] - frames[:, :-1]).abs().mean((1, 2, 3, 4))
