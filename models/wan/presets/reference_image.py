"""A picture of whom a stream shows, as a preset states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...contract import ImageInput
from .conditioning import Conditioning


@dataclass(frozen=True, slots=True)
class ReferenceImage(Conditioning):
    """The sink that every chunk attends to (Live Avatar, arXiv 2512.04677, section 4.3).

    Until chunk `own_from` it is the picture, from then on the first latent that the stream itself
    made. Past motion is the picture, standing still for `motion_frames` frames; a decoder sees the
    first `lead_latents` of its latents before the stream, and `left_out` frames behind them are not
    shown.
    """

    kind: ClassVar[str] = "reference"
    own_from: int = 4
    motion_frames: int = 73
    lead_latents: int = 7
    left_out: int = 3

    def inputs(self, size: tuple[int, int], fps: int) -> Mapping[str, Any]:
        """A picture as large as the frames; no stream without."""
        del fps
        return {"image": ImageInput(*size, required=True)}
