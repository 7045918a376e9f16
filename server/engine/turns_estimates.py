"""What devices that nobody measured would serve: estimates, and called so wherever they are shown.

The seconds follow from operations and bytes of the 1.3B student in bfloat16 on an H100, with
products at .75 and attention at .65 of its peak; no GPU has confirmed them.
"""

from __future__ import annotations

from dataclasses import dataclass

from .scheduler import ModelLoad
from .turns_simulator import forecast

_LEAD_CHUNKS = 1.7


@dataclass(frozen=True, slots=True)
class Estimate:
    """A model on a device: a chunk of `chunk_s` would take `alone_s`, batches gain `gains[k]`."""

    model: str
    device: str
    chunk_s: float
    alone_s: float
    gains: dict[int, float]

    @property
    def load(self) -> ModelLoad:
        """As the scheduler sees it."""
        table = {k: k * self.alone_s / gain for k, gain in self.gains.items()}
        slack_s = (_LEAD_CHUNKS - 1) * self.chunk_s
        return ModelLoad(self.model, self.alone_s, self.chunk_s, slack_s, table)


ESTIMATES = (
    Estimate("1.3B, 832x480, 3 frames", "H100", 0.75, 0.330, {2: 1.08, 4: 1.11, 8: 1.14}),
    Estimate("1.3B, 832x480, 1 frame", "H100", 0.25, 0.055, {2: 1.22, 4: 1.42, 8: 1.47}),
    Estimate("1.3B, 256x256, 1 frame", "H100", 0.25, 0.018, {2: 1.34, 4: 1.59, 8: 1.79}),
)


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """Streams at real time."""

    model: str
    device: str
    sliced: int
    staggered: int
    batched: int


def estimates() -> list[EstimateRow]:
    """Of all of them, by the simulation."""
    return [
        EstimateRow(
            each.model,
            each.device,
            forecast(each.load, "sliced"),
            forecast(each.load, "staggered"),
            forecast(each.load, "batched"),
        )
        for each in ESTIMATES
    ]
