"""The embedded model as a task of objectives that distil a score.

The real score is a student that flow matching has taught, causal as the one that learns: both see
a past as noisy as the present, as a stream with a cache for each step does. So a rollout is a
masked pass for each step.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .loop import Losses
from .objectives.distillation import Rollout
from .objectives.experts import network_at
from .objectives.levels import stepped
from .pocket_student import PocketStudent
from .sequences import Batch
from .task import TrainingTask

_CRITIC_WIDTH = 64


class ScoredTrainingTask:
    """What `objectives.distillation.ScoredTask` asks for, beside a task's own.

    Its prompts are words, looks, speech and motion together; a batch always has its clips, so
    objectives that refuse data do not go with it.
    """

    def __init__(self, task: TrainingTask, teacher: PocketStudent) -> None:
        self._task = task
        self.teacher = teacher.requires_grad_(False).eval()
        self.steps: Sequence[float] = task.steps

    def draw(self) -> Batch:
        """As that of the task."""
        return self._task.draw()

    def prompts(self) -> Batch:
        """The same: what is told of a clip comes with it."""
        return self._task.draw()

    def estimate(
        self, model: PocketStudent, batch: Batch, noisy: Tensor, timestep: float
    ) -> Tensor:
        """As that of the task."""
        return self._task.estimate(model, batch, noisy, timestep)

    def renoise(self, sample: Tensor, timestep: float) -> Tensor:
        """As that of the task."""
        return self._task.renoise(sample, timestep)

    def errors(self, batch: Batch, made: Tensor, *, pixels: bool) -> Losses:
        """As those of the task."""
        return self._task.errors(batch, made, pixels=pixels)

    def reward(self, batch: Batch, made: Tensor) -> Tensor:
        """As that of the task."""
        return self._task.reward(batch, made)

    def new_score(self) -> nn.Module:
        """A copy of the teacher that learns."""
        return copy.deepcopy(self.teacher).requires_grad_(True)

    def new_critic(self) -> nn.Module:
        """A critic of latents that knows nothing yet."""
        return LatentCritic()

    def score(
        self, model: Any, batch: Batch, noisy: Tensor, sigma: Tensor, *, prompted: bool = True
    ) -> Tensor:
        """Clean latents in `noisy` [B, F, 112, 8, 8] at `sigma` [B]; unprompted: without words."""
        told = batch if prompted else replace(batch, words=torch.zeros_like(batch.words))
        return model(told, self._task.references, noisy, 1000 * sigma).float()

    @torch.no_grad()
    def roll_out(
        self,
        student: Any,
        batch: Batch,
        sigmas: Sequence[float],
        *,
        deterministic: bool = False,
    ) -> Rollout:
        """As `ScoredTask.roll_out`, all chunks of a step at once."""
        x = torch.randn_like(batch.latents)
        made = self._step(student, batch, x, sigmas[0])
        for k in range(1, len(sigmas)):
            x = stepped(x, made, sigmas[k - 1], sigmas[k], deterministic=deterministic)
            made = self._step(student, batch, x, sigmas[k])
        return Rollout(x, made, sigmas[-1])

    def last_step(self, student: Any, batch: Batch, rollout: Rollout) -> Tensor:
        """As `ScoredTask.last_step`."""
        return self._step(student, batch, rollout.noisy, rollout.sigma)

    def _step(self, student: Any, batch: Batch, noisy: Tensor, sigma: float) -> Tensor:
        network = network_at(student, sigma)
        return network(batch, self._task.references, noisy, 1000 * sigma).float()


class LatentCritic(nn.Module):
    """How real noisy latents look, in space and time, to one who is told the noise alone."""

    def __init__(self) -> None:
        super().__init__()
        width = _CRITIC_WIDTH
        self.see = nn.Sequential(
            nn.Conv3d(112, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(width, width, 3, stride=(1, 2, 2), padding=1),
            nn.SiLU(),
        )
        self.judge = nn.Sequential(nn.Linear(width + 1, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, noisy: Tensor, sigma: Tensor, batch: object) -> Tensor:
        """Logits [B] of latents [B, F, 112, 8, 8] at `sigma` [B]."""
        del batch
        seen = self.see(noisy.transpose(1, 2)).mean((2, 3, 4))
        return self.judge(torch.cat([seen, sigma[:, None]], 1))[:, 0]
