"""The interface of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from rollcast.models.pocket.config import STEPS

from ..loop import Losses
from ..pocket_student import PocketStudent
from ..sequences import Batch
from ..task import TrainingTask

_PIXEL_WEIGHT = 0.5


class Objective(ABC):
    """Turns a batch into losses of a student; may keep networks of its own."""

    steps: Sequence[float] = STEPS
    """The denoising steps that a student taught so is sampled with."""

    def __init__(self, task: TrainingTask) -> None:
        self.task = task

    def begin(self, student: PocketStudent) -> None:  # noqa: B027 (most have nothing to begin)
        """Called once with the student as it is before its first step."""

    @abstractmethod
    def losses(self, student: PocketStudent, batch: Batch, *, pixels: bool) -> Losses:
        """The losses of one batch; with `pixels` also of what the decoder draws."""

    def errors(self, batch: Batch, made: Tensor, *, pixels: bool) -> Losses:
        """Errors of samples that have a truth."""
        latent = self.task.latent_error(batch, made)
        if not pixels:
            return {"latent": latent}
        error = self.task.pixel_error(batch, made)
        return {"latent": 0.5 * latent, "pixels": _PIXEL_WEIGHT * error}
