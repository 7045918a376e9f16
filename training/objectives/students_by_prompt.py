"""MSD, multi-student distillation (arXiv 2410.23274): each student has its share of the prompts.

Each is taught alone, here by any objective, on the rows of a batch that its prompts are in; the
task says which (`route`). A server routes each session to the student of its prompt, so a chunk
costs what one small student does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..loop import Losses
from .distillation import Distillation, ScoredTask
from .experts import ByPrompt


class StudentsByPrompt(Distillation):
    """Wants a `ByPrompt`; one of its students learns in each update, in turn.

    So equal total time is that of one student, shared out.
    """

    def __init__(self, task: Any, objective: Callable[[ScoredTask], Distillation]) -> None:
        super().__init__(task)
        self._objective, self._routed = objective, task.routed
        self._turn = 0

    def begin(self, student: nn.Module) -> None:
        if not isinstance(student, ByPrompt):
            raise TypeError(f"expected students ByPrompt; got {type(student).__name__}")
        count = len(student.networks)
        self.inner = [self._objective(self._routed(k, count)) for k in range(count)]
        for objective, network in zip(self.inner, student.networks, strict=True):
            objective.begin(network)
        self.needs_data = self.inner[0].needs_data
        self.deterministic = self.inner[0].deterministic

    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses:
        del batch
        assert isinstance(student, ByPrompt)
        turn, self._turn = self._turn, (self._turn + 1) % len(self.inner)
        own = self.inner[turn]
        told = own.task.draw() if own.needs_data else own.task.prompts()
        return own.losses(student.networks[turn], told)
