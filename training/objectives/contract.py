"""The interface of an objective, and what an objective wants of whatever it teaches.

Nothing here knows which model or which data: the embedded model's `TrainingTask` and the toy
world's `ToyTask` are tasks alike. Latents are [B, F, C, h, w]; a timestep is 1000 times the share
of noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

from ..loop import Losses


class Batch(Protocol):
    """Clips with what networks are told of them."""

    @property
    def latents(self) -> Tensor:
        """The data's clips."""
        ...


class Task(Protocol):
    """What a student is taught with."""

    steps: Sequence[float]
    """Timesteps of the sampler, of pure noise first."""

    def draw(self) -> Any:
        """A batch to train on."""
        ...

    def estimate(self, model: Any, batch: Any, noisy: Tensor, timestep: float) -> Tensor:
        """The clean latents that `model` sees in `noisy`, all of which is at `timestep`."""
        ...

    def renoise(self, sample: Tensor, timestep: float) -> Tensor:
        """`sample` at `timestep`, with fresh noise."""
        ...

    def errors(self, batch: Any, made: Tensor, *, pixels: bool) -> Losses:
        """Errors of samples that have a truth; with `pixels` also of what a decoder draws."""
        ...


T = TypeVar("T", bound=Task)


class Objective(ABC, Generic[T]):
    """Turns a batch into losses of a student; may keep networks of its own."""

    def __init__(self, task: T) -> None:
        self.task = task

    @property
    def steps(self) -> Sequence[float]:
        """The denoising steps that a student taught so is sampled with."""
        return self.task.steps

    def begin(self, student: nn.Module) -> None:
        """Called once with the student as it is before its first step."""

    @abstractmethod
    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses:
        """The losses of one batch; with `pixels` also of what the decoder draws."""
