"""A stream's first picture as Wan 2.1's image to video is told of it, chunk after chunk.

Beside the noise stand the latents of a clip that shows the picture once and then grey without end,
and a mask that is one where the picture is. Published code encodes a clip as long as its stream;
here it is encoded as the stream goes on. The encoder looks back a limited way (28 latents), so its
memory comes to rest: one latent of grey leaves it as it was, to the last bit. From then on the last
latent is repeated, and nothing is encoded any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....contract import Controls, StreamRequest
from ....picture import fitted_pixels
from ....student.conditioning import Conditions
from ....upload import uploaded
from ...image_condition import image_channels
from ...presets.image_to_video import ImageToVideo
from ...vae_layers import Memory
from .conditioner import (
    CallInputs,
    Change,
    ChunkPlace,
    Conditioner,
    Entry,
    Parts,
    PlanPart,
    no_change,
)
from .still_picture import vae_encoder

_CLIP = "image_encoder"


@dataclass(slots=True)
class ImageState:
    """A stream's `picture`, uint8 RGB [H, W, 3], and CLIP's `features` [N, d] of it.

    `latent` [1, 1, C, h, w] is the last of the `encoded` latents of its clip; `resting`: it follows
    for ever. What the encoder remembers follows from the rest and is not saved.
    """

    picture: Tensor
    features: Tensor
    latent: Tensor | None = None
    encoded: int = 0
    resting: bool = False
    memory: Memory | None = None

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        kept = {"picture": self.picture, "features": self.features}
        return kept if self.latent is None else kept | {"latent": self.latent}

    def metadata(self) -> dict[str, Any]:
        """The rest."""
        return {"encoded": self.encoded, "resting": self.resting}


class ImageConditioner(Conditioner[ImageState]):
    """The VAE's encoder and CLIP's, both on the device."""

    kind = ImageToVideo.kind

    def __init__(self, stated: ImageToVideo, parts: Parts) -> None:
        del stated
        self._size = parts.size
        self._device, self._dtype = parts.device, parts.dtype
        self._frames = parts.preset.latents.frames
        self._vae = vae_encoder(parts)
        # here: other models must not wait for transformers
        from ...image_encoder import ImageEncoder

        file = None if parts.files is None else parts.files.more[_CLIP]
        if parts.device.type == "meta":
            self._clip = ImageEncoder.empty(file, dtype=parts.dtype)
            return
        assert file is not None, "weights have files"
        self._clip = ImageEncoder.load(file, device=parts.device, dtype=parts.dtype)

    def start(self, request: StreamRequest) -> ImageState:
        """From the request's image."""
        assert request.image is not None, "the model has looked whether it is there"
        return self._seen(request.image)

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> ImageState:
        """The state that was saved."""
        return ImageState(
            tensors["picture"],
            tensors["features"],
            tensors.get("latent"),
            int(metadata["encoded"]),
            bool(metadata["resting"]),
        )

    def asked(self, state: ImageState, controls: Controls) -> Change:
        """A new image begins a new stream."""
        if controls.image is None:
            return no_change
        fresh = self._seen(controls.image)

        def change() -> bool:
            state.picture, state.features = fresh.picture, fresh.features
            return True

        return change

    def plan(self, state: ImageState, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """The latents of the chunk's part of the clip."""
        del returned
        if place.chunk == 0:
            state.memory, state.encoded, state.resting = {}, 0, False
        latents = torch.cat([self._next(state) for _ in range(place.frames)], dim=1)
        return PlanPart({"features": state.features, "latents": latents})

    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """Mask and latents beside the noise, features to attend to."""
        latents = uploaded(part.tensors["latents"], self._device, self._dtype)
        channels = image_channels(latents, place.start)
        return CallInputs(image=part.tensors["features"], conditions=Conditions(channels=channels))

    def weights(self) -> Iterable[Tensor]:
        """Of both encoders."""
        return [*self._vae.parameters(), *self._clip.weights]

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """A latent of grey while the encoder still remembers the picture."""
        del entry
        memory: Memory = {}
        self._encode(memory, None)
        before = dict(memory)
        self._encode(memory, None)
        del before
        return memory.values()

    def _seen(self, image: bytes) -> ImageState:
        pixels = fitted_pixels(image, *self._size)
        return ImageState(torch.tensor(pixels), self._clip.encode(pixels))

    def _next(self, state: ImageState) -> Tensor:
        """The next latent of the clip, on the CPU."""
        if state.resting:
            assert state.latent is not None, "it rests on something"
            return state.latent
        if state.memory is None:
            # restored: the encoder sees again what it had seen
            state.memory = {}
            for number in range(state.encoded):
                self._encode(state.memory, None if number else state.picture)
        before = dict(state.memory)
        latent = self._encode(state.memory, None if state.encoded else state.picture)
        state.latent = latent.float().cpu().contiguous()
        state.encoded += 1
        if before and all(torch.equal(before[name], state.memory[name]) for name in before):
            # the next latent of grey would do the same again
            state.resting, state.memory = True, None
        return state.latent

    def _encode(self, memory: Memory, picture: Tensor | None) -> Tensor:
        """The next latent [1, 1, C, h, w] of the clip, of the picture or of grey.

        A single one: what a longer part takes of memory is many times as much.
        """
        width, height = self._size
        count = self._frames if memory else 1
        clip = torch.zeros(1, count, 3, height, width, dtype=self._dtype, device=self._device)
        if picture is not None:
            levels = picture.to(self._device).permute(2, 0, 1).float()
            clip[0, 0] = levels / 127.5 - 1.0
        return self._vae.encode(clip, memory)
