"""A picture that a stream starts from: encoded once, then clean latents at its beginning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ....contract import Controls, StreamRequest
from ...presets.start_image import StartImage
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
from .still_picture import StillPicture


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
        self._picture = StillPicture(parts)

    def start(self, request: StreamRequest) -> StartImageState:
        """From the request's image, if there is one."""
        return StartImageState(None if request.image is None else self._read(request.image))

    def restore(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
    ) -> StartImageState:
        """The state that was saved."""
        del metadata
        return StartImageState(tensors.get("latents"))

    def asked(self, state: StartImageState, controls: Controls) -> Change:
        """Start anew from another image."""
        if controls.image is None:
            return no_change
        latents = self._read(controls.image)

        def change() -> bool:
            state.latents = latents
            return True

        return change

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
        return self._picture.weights()

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """Encoding a picture; nothing of it stays on the device."""
        del entry
        self._picture.rehearse(self._stated.latents)
        return ()

    def _read(self, image: bytes) -> Tensor:
        """The latents of an image file. Raises ValueError if it cannot be read."""
        return self._picture.read(image, self._stated.latents)
