"""A picture that a stream may start from, as a preset states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ...contract import ImageInput
from .conditioning import Conditioning


@dataclass(frozen=True, slots=True)
class StartImage(Conditioning):
    """The stream begins with the clean latents of a clip that shows the picture and nothing else.

    The clip has as many frames as `latents` stand for. They come `before` the first chunk: written
    to the cache at time 0 and shown in front of it (Causal-Forcing, SGF+). Or the first chunk
    begins `within` itself with them, and they stay as they are in all of its steps (LongLive 2).
    Without a picture a stream begins as ever.
    """

    kind: ClassVar[str] = "start_image"
    latents: int = 1
    place: Literal["before", "within"] = "before"

    def inputs(self, size: tuple[int, int], fps: int) -> Mapping[str, Any]:
        """An image of the size of the frames."""
        del fps
        return {"image": ImageInput(*size)}
