"""DMD2 in Self Forcing's loop: both scores see whole clips, each at a level of its own.

The student's sample y of a random step is made noisy again; y moves along R_w - F over the mean of
|y - R_w| (equations 7 and 8 of DMD, arXiv 2311.18828). R is the real score, with guidance w, F the
fake one, which learns `fake_updates` times as often (two time scales), at all levels, from the very
clips that are then moved: a rollout costs more than a step. The inputs of later steps are the
student's own (backward simulation, DMD2, arXiv 2405.14867, section 4.5), and so is each chunk's
past (Self Forcing, arXiv 2506.08009, algorithm 1). A critic of noisy clips is an option (section
4.3 of DMD2).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..loop import Losses
from .distillation import Distillation, Rollout, ScoredTask, move, random_step, size_of
from .fake_score import FakeScore, lag
from .levels import drawn_levels, noised


class DMD2(Distillation):
    """Distribution matching distillation.

    `guidance` is w above, `critic_weight` how much the critic counts (0: there is none),
    `shift` that of drawn levels. Without `simulated` the student's inputs are noisy clips of the
    data behind clips of the data: the usual mistake, kept to show what it costs.
    """

    def __init__(
        self,
        task: ScoredTask,
        *,
        guidance: float = 1.0,
        fake_updates: int = 3,
        fake_rate: float = 8e-4,
        critic_weight: float = 0.0,
        critic_rate: float = 1e-3,
        shift: float = 3.0,
        simulated: bool = True,
    ) -> None:
        super().__init__(task)
        self.guidance, self.shift = guidance, shift
        self._fake_updates, self._fake_rate = fake_updates, fake_rate
        self._critic_weight, self._critic_rate = critic_weight, critic_rate
        self._simulated = simulated
        self.needs_data = critic_weight > 0 or not simulated
        self.lag: dict[str, float] = {}

    def begin(self, student: nn.Module) -> None:
        self.fake = FakeScore(self.task, self._fake_rate)
        self.critic: nn.Module | None = None
        if self._critic_weight:
            self.critic = self.task.new_critic()
            self._critic_optimizer = torch.optim.AdamW(
                self.critic.parameters(), self._critic_rate, betas=(0.0, 0.99)
            )

    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses:
        rollout = self._rollout(student, batch)
        made = self.task.last_step(student, batch, rollout)
        for _ in range(self._fake_updates):
            self._learn(batch, made.detach())
        losses = {"matching": self.matching(made, batch, rollout)}
        if self.critic is not None:
            sigma = drawn_levels(len(made), self.shift)
            logit = self.critic(noised(made, sigma), sigma, batch)
            losses["critic"] = self._critic_weight * F.softplus(-logit).mean()
        return losses

    def _rollout(self, student: nn.Module, batch: Any) -> Rollout:
        step = random_step(len(self.sigmas))
        if self._simulated:
            return self.task.roll_out(student, batch, self.sigmas[: step + 1])
        sigma = self.sigmas[step]
        return Rollout(noised(batch.latents, sigma), batch.latents, sigma)

    def _learn(self, batch: Any, made: Tensor) -> None:
        """One step of the fake score, and of the critic, on clips that the student made."""
        sigma = drawn_levels(len(made), self.shift)
        noise = torch.randn_like(made)
        noisy = noised(made, sigma, noise)
        self.fake.learn(batch, noisy, sigma, made)
        if self.critic is not None:
            self._learn_critic(batch, noisy, noised(batch.latents, sigma, noise), sigma)

    def _learn_critic(self, batch: Any, made: Tensor, real: Tensor, sigma: Tensor) -> None:
        assert self.critic is not None
        loss = F.softplus(-self.critic(real, sigma, batch)).mean()
        loss = loss + F.softplus(self.critic(made, sigma, batch)).mean()
        self._critic_optimizer.zero_grad()
        loss.backward()
        self._critic_optimizer.step()

    def matching(self, made: Tensor, batch: Any, rollout: Rollout) -> Tensor:
        """The loss that moves samples [B, F, C, h, w]; scalar."""
        del rollout
        with torch.no_grad():
            sigma = drawn_levels(len(made), self.shift)
            noisy = noised(made, sigma)
            real = self.guided(batch, noisy, sigma, self.guidance)
            fake = self.fake(batch, noisy, sigma)
            self.lag = lag(real, fake, made)
            weight = self.weigh(made, noisy, sigma, batch)
        return move(made, real - fake, size_of(made - real), weight)

    def weigh(self, made: Tensor, noisy: Tensor, sigma: Tensor, batch: Any) -> Tensor | None:
        """How much each clip counts [B]; None: all alike."""
        del made, noisy, sigma, batch
        return None
