"""Video that a student redraws as it comes, as a preset states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...contract import VideoInput
from .conditioning import Conditioning


@dataclass(frozen=True, slots=True)
class LiveVideo(Conditioning):
    """Frames of the model's own size and rate; `noise` is their share of noise at rest.

    What is left of them under it is what a chunk's first step begins with.
    """

    kind: ClassVar[str] = "video"
    noise: float = 0.8

    def __post_init__(self) -> None:
        if not 0.0 < self.noise <= 1.0:
            raise ValueError(f"noise {self.noise} is outside 0..1")

    def inputs(self, size: tuple[int, int], fps: int) -> Mapping[str, Any]:
        """Video."""
        width, height = size
        return {"video": VideoInput(width, height, fps)}
