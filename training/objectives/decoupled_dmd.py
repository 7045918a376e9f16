"""Decoupled DMD (arXiv 2511.22677): guidance and matching with noise levels of their own.

Of DMD with guidance on the real side, R_w - F = (R_c - F) + (w - 1) (R_c - R_none): the first part
matches distributions (DM), the second augments by guidance (CA). Equations 3 to 7 give each a
level. In the hybrid, matching sees all of them, and guidance only those that the step has not
settled yet: cleaner ones than its input.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .distillation import Rollout, ScoredTask, move, size_of
from .dmd2 import DMD2
from .fake_score import lag
from .levels import drawn_levels, levels_between, noised

_LOW, _HIGH = 0.02, 0.98


class DecoupledDMD(DMD2):
    """`matches` and `augments` say which parts there are; both at one level without `hybrid`."""

    def __init__(
        self,
        task: ScoredTask,
        *,
        guidance: float = 2.0,
        matches: bool = True,
        augments: bool = True,
        hybrid: bool = True,
        fake_updates: int = 3,
        fake_rate: float = 8e-4,
        shift: float = 3.0,
    ) -> None:
        super().__init__(
            task,
            guidance=guidance,
            fake_updates=fake_updates if matches else 0,
            fake_rate=fake_rate,
            shift=shift,
        )
        self._matches, self._augments, self._hybrid = matches, augments, hybrid

    def matching(self, made: Tensor, batch: Any, rollout: Rollout) -> Tensor:
        """The loss that moves samples [B, F, C, h, w]; scalar."""
        score, teacher = self.task.score, self.task.teacher
        with torch.no_grad():
            sigma = drawn_levels(len(made), self.shift)
            noisy = noised(made, sigma)
            told = score(teacher, batch, noisy, sigma)
            direction, size = torch.zeros_like(made), size_of(made - told)
            if self._matches:
                fake = self.fake(batch, noisy, sigma)
                self.lag = lag(told, fake, made)
                direction = direction + told - fake
            if self._augments:
                if self._hybrid:
                    sigma = levels_between(len(made), _LOW, min(rollout.sigma, _HIGH))
                    noisy = noised(made, sigma)
                    told = score(teacher, batch, noisy, sigma)
                    size = torch.maximum(size, size_of(made - told))
                untold = score(teacher, batch, noisy, sigma, prompted=False)
                direction = direction + (self.guidance - 1) * (told - untold)
        return move(made, direction, size)
