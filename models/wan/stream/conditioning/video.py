"""Live video that is redrawn: what is left of it under noise is what a chunk begins with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....contract import Controls, StreamRequest
from ....upload import uploaded
from ...presets.live_video import LiveVideo
from ...video_frames import noise_share, spread, told_timestep
from .conditioner import (
    Begin,
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

_GREY = 128
_MEMORY = "memory."


@dataclass(slots=True)
class VideoState:
    """What a stream knows of its video.

    `last` uint8 [H, W, 3] is the newest frame that a chunk was given, None before any came; `came`
    [T, H, W, 3] are those since then. `share` is the noise of the chunk before, `memory` that of
    the encoder.
    """

    share: float
    last: Tensor | None = None
    came: Tensor | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save; what came was given to the chunk that it came with."""
        kept = {f"{_MEMORY}{name}": tensor for name, tensor in self.memory.items()}
        return kept if self.last is None else kept | {"last": self.last}

    def metadata(self) -> dict[str, Any]:
        """The rest."""
        return {"share": self.share}


class VideoConditioner(Conditioner[VideoState]):
    """A preset's live video, encoded by its VAE where chunks are prepared.

    A chunk redraws the frames that came since the one before, spread evenly over its own: fewer are
    repeated, of more some are left out, so that none of them waits. Where none came the last one
    stands still. Until the first one comes the stream redraws grey; with it it starts anew.
    """

    kind = LiveVideo.kind

    def __init__(self, stated: LiveVideo, parts: Parts) -> None:
        self._noise = stated.noise
        self._timestep = parts.preset.recipe.timesteps()[0]
        self._latents = parts.preset.latents
        self._width, self._height = parts.size
        self._device, self._dtype = parts.device, parts.dtype
        self._encoder = vae_encoder(parts)
        recipe = parts.preset.recipe
        self._rehearsed = (
            self._latents.pictures(recipe.frames_of(0), first=True),
            self._latents.pictures(recipe.chunk_frames, first=False),
        )

    def start(self, request: StreamRequest) -> VideoState:
        """Without a frame."""
        del request
        return VideoState(self._noise)

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> VideoState:
        """The state that was saved."""
        memory = {
            name.removeprefix(_MEMORY): tensor.to(self._device)
            for name, tensor in tensors.items()
            if name.startswith(_MEMORY)
        }
        return VideoState(float(metadata["share"]), tensors.get("last"), memory=memory)

    def asked(self, state: VideoState, controls: Controls) -> Change:
        """Take frames in; the stream starts anew with the first."""
        video = controls.video
        if len(video) == 0:
            return no_change
        size = (self._height, self._width, 3)
        if video.dtype != np.uint8 or video.ndim != 4 or video.shape[1:] != size:
            raise ValueError(
                f"video is {video.dtype} {list(video.shape)}; expected uint8 [T, "
                f"{self._height}, {self._width}, 3], RGB"
            )
        # a copy: what came from another process cannot be written to
        came = torch.from_numpy(video.copy())

        def change() -> bool:
            state.came = came
            return state.last is None

        return change

    def plan(self, state: VideoState, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """Latents of the chunk's frames, raw as the VAE gives them, and their share of noise."""
        del returned
        begins = place.chunk == 0
        count = self._latents.pictures(place.frames, first=begins)
        came = spread(self._came(state), count)
        if begins:
            state.memory.clear()
            state.share, timestep = self._noise, self._timestep
        else:
            # on the host, which would have to wait for a GPU to tell of motion
            seen = _values(torch.cat((self._last(state)[None], came)))
            state.share = noise_share(seen, state.share, self._noise)
            timestep = told_timestep(state.share)
        if state.came is not None:
            state.last, state.came = state.came[-1].clone(), None
        # Not scaled for the student, as published: its own latents are, these are mixed in raw.
        frames = _values(uploaded(came, self._device))
        latents = self._encoder(frames.permute(0, 3, 1, 2)[None].to(self._dtype), state.memory)
        # contiguous, for its way to other stages; where there are none it stays on the device
        told = {"share": state.share, "timestep": timestep}
        return PlanPart({"latents": latents.contiguous()}, told)

    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """What the first step begins with."""
        del place
        share, timestep = part.plain["share"], part.plain["timestep"]
        return CallInputs(begin=Begin(part.tensors["latents"], share, timestep))

    def weights(self) -> Iterable[Tensor]:
        """The encoder's."""
        return self._encoder.parameters()

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """A first chunk and another through the encoder, and what it remembers of them."""
        del entry
        memory: dict[str, Tensor] = {}
        for count in self._rehearsed:
            shape = (1, count, 3, self._height, self._width)
            self._encoder(torch.zeros(shape, dtype=self._dtype, device=self._device), memory)
        return memory.values()

    def _came(self, state: VideoState) -> Tensor:
        """The frames since the chunk before, at least one."""
        return self._last(state)[None] if state.came is None else state.came

    def _last(self, state: VideoState) -> Tensor:
        if state.last is not None:
            return state.last
        return torch.full((self._height, self._width, 3), _GREY, dtype=torch.uint8)


def _values(frames: Tensor) -> Tensor:
    """uint8 frames [T, H, W, 3] as float32 of -1 to 1."""
    return frames.float().div_(127.5).sub_(1.0)
