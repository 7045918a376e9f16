"""A stream's first picture as Wan 2.1's image to video is told of it, chunk after chunk.

Beside the noise stand the latents of a clip that shows the picture once and then grey without end,
and a mask that is one where the picture is. Published code encodes a clip as long as its stream;
here it is encoded as the stream goes on. The encoder looks back a limited way (about 28 latents),
so its memory comes to rest, bit by bit the same after every chunk of grey: from then on the last
latents are repeated, and nothing is encoded any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....contract import Controls, StreamRequest
from ....picture import fitted_pixels
from ....student.conditioning import Conditions
from ...encoder import WanEncoder
from ...image_condition import image_channels
from ...image_encoder import ImageEncoder
from ...presets.image_to_video import ImageToVideo
from ...vae_files import load_encoder
from ...vae_layers import Memory
from .conditioner import CallInputs, ChunkPlace, Conditioner, Entry, Parts, PlanPart


@dataclass(slots=True)
class ImageState:
    """A stream's `picture`, uint8 RGB [H, W, 3], and CLIP's `features` [N, d] of it.

    `latents` [1, F, C, h, w] are those of the last chunk, None before the first; `lengths` how many
    latents each of the chunks had that were encoded so far; `resting`: the same latents follow for
    ever. What the encoder remembers follows from the rest and is not saved.
    """

    picture: np.ndarray
    features: Tensor
    latents: Tensor | None = None
    lengths: list[int] = field(default_factory=list)
    resting: bool = False
    memory: Memory | None = None

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        kept = {"picture": torch.from_numpy(self.picture), "features": self.features}
        return kept if self.latents is None else kept | {"latents": self.latents}

    def metadata(self) -> dict[str, Any]:
        """The rest."""
        return {"lengths": self.lengths, "resting": self.resting}


class ImageConditioner(Conditioner[ImageState]):
    """The VAE's encoder and CLIP's, both on the device."""

    kind = ImageToVideo.kind

    def __init__(self, stated: ImageToVideo, parts: Parts) -> None:
        del stated
        self._size = parts.size
        self._device, self._dtype = parts.device, parts.dtype
        self._frames = parts.preset.latents.frames
        self._chunk = parts.preset.recipe.chunk_frames
        if parts.device.type == "meta" or parts.files is None:
            with torch.device("meta"):
                self._vae = WanEncoder().eval().to(parts.dtype)
            self._clip = ImageEncoder.empty(parts.dtype)
            return
        self._vae = load_encoder(parts.files.vae, device=parts.device, dtype=parts.dtype)
        self._clip = ImageEncoder.load(
            parts.files.more["image_encoder"], device=parts.device, dtype=parts.dtype
        )

    def start(self, request: StreamRequest) -> ImageState:
        """From the request's image."""
        assert request.image is not None, "the model has looked whether it is there"
        return self._seen(request.image)

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> ImageState:
        """The state that was saved."""
        return ImageState(
            tensors["picture"].numpy().copy(),
            tensors["features"],
            tensors.get("latents"),
            [int(length) for length in metadata["lengths"]],
            bool(metadata["resting"]),
        )

    def obey(self, state: ImageState, controls: Controls) -> bool:
        """A new image begins a new stream."""
        if controls.image is None:
            return False
        fresh = self._seen(controls.image)
        state.picture, state.features = fresh.picture, fresh.features
        return True

    def plan(self, state: ImageState, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """The latents of the chunk's part of the clip."""
        del returned
        if place.chunk == 0:
            state.memory, state.latents, state.lengths, state.resting = {}, None, [], False
        if not state.resting:
            self._advance(state, place.frames)
        assert state.latents is not None, "a chunk has latents"
        return PlanPart({"features": state.features, "latents": state.latents})

    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """Mask and latents beside the noise, features to attend to."""
        latents = part.tensors["latents"].to(self._device, self._dtype)
        channels = image_channels(latents, place.start)
        return CallInputs(image=part.tensors["features"], conditions=Conditions(channels=channels))

    def weights(self) -> Iterable[Tensor]:
        """Of both encoders."""
        return [*self._vae.parameters(), *self._clip.weights]

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """A chunk of grey while the encoder still remembers the picture."""
        del entry
        memory: Memory = {}
        self._vae.encode(self._clip_part(1, None), memory)
        before = dict(memory)
        self._vae.encode(self._clip_part(self._frames * self._chunk, None), memory)
        del before
        return memory.values()

    def _seen(self, image: bytes) -> ImageState:
        picture = fitted_pixels(image, *self._size)
        return ImageState(picture, self._clip.encode(picture))

    def _advance(self, state: ImageState, frames: int) -> None:
        """Encode the next `frames` latents of the clip."""
        if state.memory is None:
            # restored: the encoder sees again what it had seen
            state.memory, lengths, state.lengths = {}, state.lengths, []
            for length in lengths:
                self._advance(state, length)
        first = not state.lengths
        latents, rests = self._encoded(frames, state.memory, state.picture if first else None)
        state.latents = latents.float().cpu()
        state.lengths.append(frames)
        if rests:
            # the next chunk of grey would do the same again
            state.resting, state.memory, state.lengths = True, None, []

    def _encoded(
        self, frames: int, memory: Memory, picture: np.ndarray | None
    ) -> tuple[Tensor, bool]:
        """The next latents of the clip, and whether `memory` stayed as it was."""
        before = dict(memory)
        count = self._frames * frames - (0 if memory else self._frames - 1)
        latents = self._vae.encode(self._clip_part(count, picture), memory)
        rests = before.keys() == memory.keys() and all(
            torch.equal(before[name], memory[name]) for name in memory
        )
        return latents, rests

    def _clip_part(self, count: int, picture: np.ndarray | None) -> Tensor:
        """`count` frames [1, T, 3, H, W] of the clip, the picture in front if it is given."""
        width, height = self._size
        clip = torch.zeros(1, count, 3, height, width, dtype=self._dtype, device=self._device)
        if picture is not None:
            levels = torch.from_numpy(picture).to(self._device).permute(2, 0, 1).float()
            clip[0, 0] = levels / 127.5 - 1.0
        return clip
