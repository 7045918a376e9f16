"""Adversarial distillation beside DMD2: the family of APT and ADM that Seedream 4 is of.

A critic of noisy clips is taught by hinge losses, or to rank real clips above made ones
(relativistic), with APT's finite-difference stand-in for the R1 penalty (arXiv 2501.08316,
equation 4): lambda |D(x) - D(x + 0.1 noise)|^2, without which its loss goes to 0 and teaches
nothing. Its gradient at the clips is scaled to `strength` times the norm of DMD's; Seedream 4
(arXiv 2509.20427) publishes no formulas.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..loop import Losses
from .distillation import ScoredTask
from .dmd2 import DMD2
from .levels import drawn_levels, noised

Kind = Literal["hinge", "relativistic"]
_NUDGE = 0.1


class Adversarial(DMD2):
    """`strength` is the critic's gradient at clips in units of that of DMD."""

    def __init__(
        self,
        task: ScoredTask,
        kind: Kind = "hinge",
        *,
        strength: float = 1.0,
        penalty: float = 100.0,
        guidance: float = 1.0,
        fake_updates: int = 3,
        fake_rate: float = 8e-4,
        critic_rate: float = 1e-3,
        shift: float = 3.0,
    ) -> None:
        super().__init__(
            task,
            guidance=guidance,
            fake_updates=fake_updates,
            fake_rate=fake_rate,
            critic_weight=1.0,
            critic_rate=critic_rate,
            shift=shift,
        )
        self._kind: Kind = kind
        self._strength, self._penalty = strength, penalty

    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses:
        rollout = self._rollout(student, batch)
        made = self.task.last_step(student, batch, rollout)
        for _ in range(self._fake_updates):
            self._learn(batch, made.detach())
        matching = self.matching(made, batch, rollout)
        critic = self.persuasion(made, batch)
        return {"matching": matching, "critic": self._matched(made, matching, critic) * critic}

    def persuasion(self, made: Tensor, batch: Any) -> Tensor:
        """What the student is taught: to be held real; scalar."""
        assert self.critic is not None
        sigma = drawn_levels(len(made), self.shift)
        noise = torch.randn_like(made)
        on_made = self.critic(noised(made, sigma, noise), sigma, batch)
        if self._kind == "hinge":
            return -on_made.mean()
        with torch.no_grad():
            on_real = self.critic(noised(batch.latents, sigma, noise), sigma, batch)
        return F.softplus(on_real - on_made).mean()

    def _matched(self, made: Tensor, matching: Tensor, critic: Tensor) -> Tensor:
        """What brings the critic's gradient at `made` to `strength` times that of `matching`."""
        sizes = [
            torch.autograd.grad(loss, made, retain_graph=True)[0].norm()
            for loss in (matching, critic)
        ]
        return self._strength * sizes[0] / sizes[1].clamp(min=1e-12)

    def _learn_critic(self, batch: Any, made: Tensor, real: Tensor, sigma: Tensor) -> None:
        assert self.critic is not None
        loss = critic_loss(self.critic, batch, made, real, sigma, self._kind, self._penalty)
        self._critic_optimizer.zero_grad()
        loss.backward()
        self._critic_optimizer.step()


def critic_loss(
    critic: nn.Module,
    batch: Any,
    made: Tensor,
    real: Tensor,
    sigma: Tensor,
    kind: Kind,
    penalty: float,
) -> Tensor:
    """Of a critic at noisy clips of either kind [B, F, C, h, w] of levels `sigma` [B]; scalar."""
    on_real, on_made = critic(real, sigma, batch), critic(made, sigma, batch)
    if kind == "hinge":
        loss = F.relu(1 - on_real).mean() + F.relu(1 + on_made).mean()
    else:
        loss = F.softplus(on_made - on_real).mean()
    nudged = critic(real + _NUDGE * torch.randn_like(real), sigma, batch)
    return loss + penalty * (on_real - nudged).square().mean()
