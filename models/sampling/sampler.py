"""What the samplers of one chunk have in common, whatever they do between its calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from ..student.config import Prediction

NoiseSource = Callable[[Tensor], Tensor]
SamplerMemory = dict[str, Tensor]


class Sampler(Protocol):
    """Takes a chunk from noise to clean latents, a prediction of the student at a time."""

    @property
    def timesteps(self) -> Sequence[float]:
        """What the student is told of time, call by call."""
        ...

    def remembers(self, index: int) -> tuple[str, ...]:
        """The names in the memory behind step `index`; empty behind the last one.

        Each is a tensor like the latents.
        """
        ...

    def step(
        self,
        index: int,
        latents: Tensor,
        prediction: Tensor,
        kind: Prediction,
        memory: SamplerMemory,
    ) -> Tensor:
        """The latents behind call `index`, which saw `latents` and predicted `prediction`.

        Those behind the last call are clean. `memory` is empty before a chunk's first call and
        holds what later calls need: whoever keeps a chunk between its calls keeps it as well.
        """
        ...
