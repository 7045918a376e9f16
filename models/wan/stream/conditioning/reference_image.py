"""A picture of whom the stream shows: the sink of every cache, and what the decoder saw before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....contract import Controls, StreamRequest
from ....live_avatar.inputs import encode_sink
from ....picture import fitted_pixels
from ...encoder import WanEncoder
from ...presets.reference_image import ReferenceImage
from ...vae_files import encoder_config, encoder_weights, load_encoder
from .conditioner import (
    CallInputs,
    ChunkPlace,
    Conditioner,
    Entry,
    LeadIn,
    Parts,
    PlanPart,
)


@dataclass(slots=True)
class ReferenceState:
    """Latents of the picture [1, 1, C, h, w], and of its standing still [1, F, C, h, w]."""

    reference: Tensor
    motion: Tensor

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        return {"reference": self.reference, "motion": self.motion}

    def metadata(self) -> dict[str, Any]:
        """Nothing beside them."""
        return {}


class ReferenceConditioner(Conditioner[ReferenceState]):
    """A preset's reference; pictures are encoded by the VAE's encoder."""

    kind = ReferenceImage.kind

    def __init__(self, stated: ReferenceImage, parts: Parts) -> None:
        """Raises ValueError for a VAE without an encoder."""
        self._stated = stated
        self._size = parts.size
        self._weight = parts.network.patch_embedding.weight
        self._name = parts.preset.name
        self._encoder = _encoder(parts)

    def start(self, request: StreamRequest) -> ReferenceState:
        """Of the request's image. Raises ValueError if it is missing or cannot be read."""
        if request.image is None:
            raise ValueError(f"{self._name} needs an image to start from; give one")
        return self._encode(request.image)

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> ReferenceState:
        """The state that was saved."""
        del metadata
        return ReferenceState(tensors["reference"], tensors["motion"])

    def obey(self, state: ReferenceState, controls: Controls) -> bool:
        """Start anew with another image."""
        if controls.image is None:
            return False
        new = self._encode(controls.image)
        state.reference, state.motion = new.reference, new.motion
        return True

    def plan(self, state: ReferenceState, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """The sink, in the chunks that it changes with."""
        own = self._stated.own_from
        if place.chunk == 0:
            tensors = {"reference": state.reference, "motion": state.motion}
            return PlanPart(tensors, needed_by=own)
        if place.chunk == own:
            assert returned is not None, "chunk 0 said that this one needs it"
            own_frame = returned[:, :1].float().cpu()
            return PlanPart({"reference": own_frame, "motion": state.motion})
        return PlanPart()

    def arrive(self, part: PlanPart, entry: Entry) -> None:
        """Give the cache its sink, from this chunk on."""
        if part.tensors:
            reference = part.tensors["reference"].to(self._weight)
            motion = part.tensors["motion"].to(self._weight)
            entry.cache.set_sink(encode_sink(entry.student, reference, motion, entry.context))

    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """Nothing: it is in the cache."""
        del part, place
        return CallInputs()

    def lead_in(self, part: PlanPart) -> LeadIn:
        """The picture, standing still."""
        return LeadIn(part.tensors["motion"][:, : self._stated.lead_latents], self._stated.left_out)

    def weights(self) -> Iterable[Tensor]:
        """The encoder's."""
        return self._encoder.parameters()

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """A new picture, and a sink made of it."""
        self._latents(torch.zeros(1, 1, 3, *self._size[::-1], device="meta"))
        rows, columns = (side // 8 for side in self._size[::-1])
        motion = self._weight.new_zeros(
            1, self._motion_latents, entry.student.config.in_channels, rows, columns
        )
        encode_sink(entry.student, motion[:, :1], motion, entry.context)
        return ()

    @property
    def _motion_latents(self) -> int:
        return 1 + (self._stated.motion_frames - 1) // 4

    def _encode(self, file: bytes) -> ReferenceState:
        pixels = torch.from_numpy(fitted_pixels(file, *self._size).copy())
        frame = pixels.permute(2, 0, 1)[None, None].float() / 127.5 - 1
        motion = self._latents(frame)
        # the encoder is causal: its first latent has seen the one frame alone
        return ReferenceState(motion[:, :1].clone(), motion)

    def _latents(self, frame: Tensor) -> Tensor:
        """Of a frame [1, 1, 3, H, W] that stands still, float32 on the CPU."""
        frame = frame.to(next(self._encoder.parameters()))
        memory: dict[str, Tensor] = {}
        made = [self._encoder.encode(frame, memory)]
        for _ in range(self._motion_latents - 1):
            made.append(self._encoder.encode(frame.expand(-1, 4, -1, -1, -1), memory))
        whole = torch.cat(made, dim=1).float()
        return whole if whole.is_meta else whole.cpu()


def _encoder(parts: Parts) -> WanEncoder:
    """The VAE's encoder; on `meta` only its sizes."""
    if parts.device.type != "meta":
        assert parts.files is not None, "a model has files"
        return load_encoder(parts.files.vae, device=parts.device, dtype=parts.dtype)
    config = None if parts.files is None else encoder_config(encoder_weights(parts.files.vae))
    with parts.device:
        return WanEncoder(config).to(parts.dtype)
