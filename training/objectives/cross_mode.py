"""Cross-mode consistency (FlashWorld, arXiv 2510.13678): two modes of one network agree.

A network that makes whole clips well and one that makes them consistently are two modes of the same
weights; here bidirectional clips and causal chunks. The causal mode is distilled by DMD2 from the
score of the other, and beside it (equation 7) its estimate of a noisy clip has to be the one that
the bidirectional mode makes of it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..loop import Losses
from .distillation import Rollout, ScoredTask
from .dmd2 import DMD2


class CrossMode(DMD2):
    """DMD2 and `consistency` times the mean square of what the two modes differ by."""

    def __init__(
        self,
        task: ScoredTask,
        *,
        consistency: float = 0.1,
        guidance: float = 1.0,
        fake_updates: int = 3,
        fake_rate: float = 8e-4,
        shift: float = 3.0,
    ) -> None:
        super().__init__(
            task, guidance=guidance, fake_updates=fake_updates, fake_rate=fake_rate, shift=shift
        )
        self._consistency = consistency

    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses:
        rollout = self._rollout(student, batch)
        made = self.task.last_step(student, batch, rollout)
        for _ in range(self._fake_updates):
            self._learn(batch, made.detach())
        return {
            "matching": self.matching(made, batch, rollout),
            "consistency": self._consistency * self.apart(student, batch, made, rollout),
        }

    def apart(self, student: nn.Module, batch: Any, made: Tensor, rollout: Rollout) -> Tensor:
        """Mean square of the causal estimate less the bidirectional one; scalar."""
        sigma = made.new_full((len(made),), rollout.sigma)
        whole = self.task.score(student, batch, rollout.noisy, sigma)
        return (made - whole).square().mean()
