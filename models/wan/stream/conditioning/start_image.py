"""A picture that a stream starts from: encoded once, then clean latents at its beginning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....contract import Controls, StreamRequest
from ....picture import fitted_pixels
from ...encoder import WanEncoder
from ...presets.start_image import StartImage
from ...vae_files import encoder_config, encoder_weights, load_encoder, published_encoder
from .conditioner import CallInputs, ChunkPlace, Conditioner, Entry, Parts, PlanPart


@dataclass(slots=True)
class StartImageState:
    """The latents [1, F, C, h, w] that the stream starts from, on the CPU; None: from none."""

    latents: Tensor | None

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        return {} if self.latents is None else {"latents": self.latents}

    def metadata(self) -> dict[str, Any]:
        """Nothing beside them."""
        return {}


class StartImageConditioner(Conditioner[StartImageState]):
    """Pictures for a preset's streams, through the encoder of its VAE."""

    kind = StartImage.kind

    def __init__(self, stated: StartImage, parts: Parts) -> None:
        self._stated = stated
        self._size = parts.size
        self._frames = parts.preset.latents.frames
        self._encoder = vae_encoder(parts)

    def start(self, request: StreamRequest) -> StartImageState:
        """From the request's image, if there is one."""
        return StartImageState(None if request.image is None else self._read(request.image))

    def restore(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
    ) -> StartImageState:
        """The state that was saved."""
        del metadata
        return StartImageState(tensors.get("latents"))

    def obey(self, state: StartImageState, controls: Controls) -> bool:
        """Start anew from another image."""
        if controls.image is None:
            return False
        state.latents = self._read(controls.image)
        return True

    def given_frames(self, state: StartImageState) -> int:
        """Those before the first chunk."""
        before = self._stated.place == "before" and state.latents is not None
        return self._stated.latents if before else 0

    def plan(self, state: StartImageState, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """The latents, for the chunk that starts the stream."""
        del returned
        if place.chunk or state.latents is None:
            return PlanPart()
        return PlanPart({"latents": state.latents})

    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """The latents, before the chunk or at its beginning."""
        del place
        latents = part.tensors.get("latents")
        if self._stated.place == "before":
            return CallInputs(given=latents)
        return CallInputs(held=latents)

    def weights(self) -> Iterable[Tensor]:
        """The encoder's."""
        return self._encoder.parameters()

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """Encoding a picture; nothing of it stays on the device."""
        del entry
        width, height = self._size
        weight = next(self._encoder.parameters())
        self._encode(weight.new_zeros(1, 1, 3, height, width))
        return ()

    def _read(self, image: bytes) -> Tensor:
        """The latents of an image file. Raises ValueError if it cannot be read."""
        levels = torch.tensor(fitted_pixels(image, *self._size))
        weight = next(self._encoder.parameters())
        frame = levels.permute(2, 0, 1)[None, None].to(weight.device).float() / 127.5 - 1
        return self._encode(frame.to(weight.dtype)).cpu()

    def _encode(self, frame: Tensor) -> Tensor:
        """The latents [1, F, C, h, w] of a clip that shows `frame` [1, 1, 3, H, W] alone."""
        memory: dict[str, Tensor] = {}
        made = [self._encoder.encode(frame, memory)]
        # a latent at a time: the memory that it takes does not depend on how many there are
        for _ in range(self._stated.latents - 1):
            made.append(self._encoder.encode(frame.expand(-1, self._frames, -1, -1, -1), memory))
        return torch.cat(made, dim=1)


def vae_encoder(parts: Parts) -> WanEncoder:
    """The encoder of the preset's VAE; on `meta` without weights."""
    files, latents = parts.files, parts.preset.latents
    if parts.device.type != "meta":
        assert files is not None, "weights have files"
        return load_encoder(files.vae, device=parts.device, dtype=parts.dtype)
    published = published_encoder(latents)
    config = published if files is None else encoder_config(encoder_weights(files.vae))
    with torch.device("meta"):
        return WanEncoder(config).eval().to(parts.dtype)
