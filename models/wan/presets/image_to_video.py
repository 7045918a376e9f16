"""A picture that a stream begins with, as Wan 2.1's image to video is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...contract import ImageInput
from .conditioning import Conditioning
from .source import Source


@dataclass(frozen=True, slots=True)
class ImageToVideo(Conditioning):
    """The picture as a mask and latents beside the noise, and CLIP's features of it to attend to.

    `encoder` is where CLIP's files are. Nobody generates without a picture.
    """

    kind: ClassVar[str] = "image"
    imports: ClassVar[tuple[str, ...]] = ("transformers.models.clip.modeling_clip",)
    encoder: Source

    def inputs(self, size: tuple[int, int], fps: int) -> Mapping[str, Any]:
        """An image of the frames' size."""
        del fps
        return {"image": ImageInput(*size, required=True)}

    def sources(self) -> Mapping[str, Source]:
        """CLIP's vision model."""
        return {"image_encoder": self.encoder}
