"""A picture of whom the stream shows: the sink of every cache, and what the decoder saw before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ....contract import Controls, StreamRequest
from ....live_avatar.inputs import encode_sink
from ....upload import uploaded
from ...presets.reference_image import ReferenceImage
from .conditioner import (
    CallInputs,
    Change,
    ChunkPlace,
    Conditioner,
    Entry,
    LeadIn,
    Parts,
    PlanPart,
    no_change,
)
from .still_picture import StillPicture

_LEAST = 8
"""Rows and columns of latents that the oldest motion tokens cover, each of them."""


@dataclass(slots=True)
class ReferenceState:
    """Latents [1, F, C, h, w] of the picture standing still; the first are those of it alone."""

    motion: Tensor

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        return {"motion": self.motion}

    def metadata(self) -> dict[str, Any]:
        """Nothing beside it."""
        return {}


class ReferenceConditioner(Conditioner[ReferenceState]):
    """A preset's reference; pictures are encoded by the VAE's encoder."""

    kind = ReferenceImage.kind

    def __init__(self, stated: ReferenceImage, parts: Parts) -> None:
        """Raises ValueError for a VAE without an encoder, and for frames that are too small."""
        width, height = parts.size
        if min(parts.size) < _LEAST * parts.preset.latents.pixels:
            raise ValueError(
                f"size {width}x{height}: {parts.preset.name} needs at least "
                f"{_LEAST * parts.preset.latents.pixels} pixels a side"
            )
        self._stated = stated
        assert parts.network is not None, "a model has a student"
        self._weight = parts.network.patch_embedding.weight
        self._picture = StillPicture(parts)

    def start(self, request: StreamRequest) -> ReferenceState:
        """Of the request's image. Raises ValueError if it cannot be read."""
        assert request.image is not None, "the model has looked whether it is there"
        return ReferenceState(self._read(request.image))

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> ReferenceState:
        """The state that was saved."""
        del metadata
        return ReferenceState(tensors["motion"])

    def asked(self, state: ReferenceState, controls: Controls) -> Change:
        """Start anew with another image."""
        if controls.image is None:
            return no_change
        motion = self._read(controls.image)

        def change() -> bool:
            state.motion = motion
            return True

        return change

    def plan(self, state: ReferenceState, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """The sink, in the chunks that it changes with."""
        own = self._stated.own_from
        if place.chunk == 0:
            return PlanPart({"motion": state.motion}, needed_by=own)
        if place.chunk == own:
            assert returned is not None, "chunk 0 said that this one needs it"
            own_first = returned[:, :1].float().contiguous()
            return PlanPart({"own": own_first, "motion": state.motion})
        return PlanPart()

    def arrive(self, part: PlanPart, entry: Entry) -> None:
        """Give the cache its sink, from this chunk on."""
        if part.tensors:
            motion, own = self._here(part.tensors["motion"]), part.tensors.get("own")
            reference = motion[:, :1] if own is None else self._here(own)
            entry.cache.set_sink(encode_sink(entry.student, reference, motion, entry.context))

    def _here(self, latents: Tensor) -> Tensor:
        return uploaded(latents, self._weight.device, self._weight.dtype)

    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """Nothing: it is in the cache."""
        del part, place
        return CallInputs()

    def lead_in(self, part: PlanPart) -> LeadIn:
        """The picture, standing still."""
        return LeadIn(part.tensors["motion"][:, : self._stated.lead_latents], self._stated.left_out)

    def weights(self) -> Iterable[Tensor]:
        """The encoder's."""
        return self._picture.weights()

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """A new picture, and a sink made of it."""
        motion = self._picture.rehearse(self._motion_latents).to(self._weight)
        encode_sink(entry.student, motion[:, :1], motion, entry.context)
        return ()

    @property
    def _motion_latents(self) -> int:
        return 1 + (self._stated.motion_frames - 1) // 4

    def _read(self, image: bytes) -> Tensor:
        return self._picture.read(image, self._motion_latents).float()
