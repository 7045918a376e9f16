"""A published causal student of Wan as a stream: controls in, chunks of frames out.

The preset's recipe says which calls a chunk takes, its conditioners what the student is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ....kernels.dispatch import yuv420
from ...caches_on_demand import CachesOnDemand
from ...contract import Chunk, Controls, StreamRequest
from ...device_queues import Queues, SideQueue
from ...download import downloaded
from ...past_calls import PastCall
from ...staged_model import ChunkPlan, Row, draw_seed, run_chunk, show_again
from ...state import DecoderState, SavedState, StreamState
from ...student.causal_student import CausalStudent
from ...student.student_cache import StudentCache
from ...yuv_frames import Pictures, YuvFrames
from ..presets.preset import Preset
from ..vae_files import Decoder
from .conditioning.conditioner import ChunkPlace, LeadIn, PlanPart
from .decoders import Decoders
from .plan_parts import decoders_of, parts_of, planned
from .row_calls import RowCalls
from .stream_state import WanConditioning, WanState


class WanModel:
    """A preset with its weights; every stream's state is a `StreamState`.

    `size` is the width and height of the frames in pixels; with `yuv` they are made as encoders
    take them. Chunks may ask for `tiny` in the place of `decoder`. With `queues` frames are made
    beside the calls of the student that follow. Latents are in the type of the student, as
    published.
    """

    def __init__(
        self,
        preset: Preset,
        calls: RowCalls,
        decoder: Decoder,
        size: tuple[int, int],
        *,
        tiny: Decoder | None = None,
        yuv: bool = False,
        queues: Queues | None = None,
    ) -> None:
        self._preset = preset
        self._queues = queues
        self._beside = SideQueue("decoder", queues)
        self._calls = calls
        self._decoder = decoder
        self._decoders = Decoders(decoder, tiny)
        self._levels = yuv_levels if yuv else rgb_levels
        self._conditioners = {each.kind: each for each in calls.conditioners}
        self.chunk_steps = calls.chunk_steps
        self.decoder_is_causal = True
        self.rebuild_chunks = 0
        info = preset.info(size)
        economy = replace(info.economy, tiny_decoder=self._decoders.has_tiny)
        self.info = replace(info, economy=economy)

    @property
    def batches(self) -> bool:
        """Whether chunks of several streams may be one batch, see `batch_shape`."""
        return self._calls.makes_batches

    @property
    def runs_ahead(self) -> bool:
        """Whether `decode` returns before the frames are there, so that more can be asked for."""
        return self._queues is not None and self._levels is yuv_levels

    @property
    def student(self) -> CausalStudent:
        """The student that makes its latents."""
        return self._calls.student

    @torch.inference_mode()
    def start(self, request: StreamRequest) -> WanState:
        """A new stream.

        Raises ValueError for what the model does not take, for a picture that it needs and does not
        get, and for what cannot be read.
        """
        self._check(request)
        kinds = {kind: each.start(request) for kind, each in self._conditioners.items()}
        return StreamState(
            caches=self._new_caches(),
            conditioning=WanConditioning(kinds),
            generator=torch.Generator().manual_seed(request.seed),
            seed=request.seed,
            scene="",
            prompt=request.prompt or "",
        )

    def step(self, state: WanState, controls: Controls) -> Chunk:
        """Advance by one chunk."""
        return run_chunk(self, state, controls)

    def new_cache(self) -> StudentCache:
        """An empty cache."""
        return self._calls.new_cache()

    @torch.inference_mode()
    def prepare(self, state: WanState, controls: Controls) -> ChunkPlan:
        """Obey; what was not encoded before is waited for.

        Raises ValueError for what cannot be read, and then has changed nothing.
        """
        told = state.conditioning
        changes = [each.asked(told.kinds[k], controls) for k, each in self._conditioners.items()]
        for change in changes:
            state.restart |= change()
        if controls.prompt is not None:
            state.prompt = controls.prompt
        if controls.reset or controls.seed is not None:
            state.seed = state.seed if controls.seed is None else controls.seed
            state.restart = True
        if state.restart:
            state.generator.manual_seed(state.seed)
            told.chunks = 0
            given = [each.given_frames(told.kinds[k]) for k, each in self._conditioners.items()]
            told.frames = max(given, default=0)
        frames = self._preset.recipe.frames_of(told.frames)
        place = ChunkPlace(chunk=told.chunks, start=told.frames, frames=frames, seed=state.seed)
        returned = state.returns.pop(state.chunk_index, None)
        parts = {
            kind: each.plan(told.kinds[kind], place, returned)
            for kind, each in self._conditioners.items()
        }
        tiny = self._decoders.has_tiny and controls.economy.tiny_decoder
        seed = draw_seed(state.generator)
        plan = planned(
            state.chunk_index,
            seed,
            restart=state.restart,
            place=place,
            parts=parts,
            steps=controls.economy.steps,
            decoders=told.decoder.next("tiny" if tiny else "vae", frames, restart=state.restart),
        )
        told.chunks += 1
        told.frames += frames
        state.chunk_index += 1
        state.restart = False
        return plan

    @torch.inference_mode()
    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        """Take each row's latents through its call, if its chunk makes that one."""
        return self._calls.denoise(rows, fill=fill)

    @torch.inference_mode()
    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        """The frames of a chunk's latents; of the first one behind those that were given.

        From a GPU they come by themselves: nobody waits for them here.
        """
        given, parts = self._calls.given(plan), parts_of(plan)
        leads = self._leads(parts) if plan.restart else []
        state.settle = self._beside.join
        with self._beside.work(latents, given, *(lead.latents for lead in leads)):
            whole = (latents,) if given is None else (given, latents)
            used = decoders_of(plan)
            made = self._decoders.frames(used, whole, leads, state.memory, self._levels)
            chunk = Chunk(plan.index, self._pictures(made), np.zeros(0, np.int16))
        for kind, each in self._conditioners.items():
            chunk = replace(chunk, **each.shown(parts[kind]))
        return chunk

    def _pictures(self, made: Tensor) -> Pictures:
        """What `self._levels` gave, on its way to the host."""
        coming = downloaded(made, self._queues)
        if self._levels is rgb_levels:
            return coming.wait()
        return YuvFrames(coming, len(made), self.info.height, self.info.width)

    def snapshot(self, state: WanState) -> bytes:
        """The whole state as bytes."""
        return state.to_bytes(self._preset.name)

    def small_snapshot(self, state: WanState) -> bytes:
        """With the latents that caches and decoder hold in place of what they made of them.

        The whole state, as long as some of those are not known: behind `restore` of a whole one.
        """
        has_past = all(cache.has_past for cache in state.caches)
        if not has_past or (state.decoder.memory and not state.decoder.recent):
            return self.snapshot(state)
        return state.past_bytes(self._preset.name)

    @torch.inference_mode()
    def rebuild_cache(self, past: Sequence[PastCall], kept: Mapping[str, Tensor]) -> StudentCache:
        """A cache much like the one that had this `StudentCache.past`, and this `kept`."""
        return self._calls.rebuild(past, kept)

    @torch.inference_mode()
    def restore(self, data: bytes) -> WanState:
        """The state of a snapshot of either kind.

        Raises ValueError if it is none of this model, or of a stream that a tiny decoder shows
        where there is none.
        """
        saved = SavedState.parse(data, self._preset.name)
        conditioning = WanConditioning.of(saved, self._calls.conditioners)
        if conditioning.decoder.shown == "tiny" and not self._decoders.has_tiny:
            raise ValueError("a tiny decoder shows this stream: load the model with --tiny-decoder")
        # a stage's part has no caches
        caches: Sequence[StudentCache] = self._new_caches()
        for k, metadata in enumerate(saved.plain["caches"]):
            caches[k].load(saved.part(f"cache.{k}"), metadata)
        decoder = saved.decoder()
        if saved.is_small and len(saved.plain["pasts"]) > 1:
            caches = [
                self.rebuild_cache(saved.past(k), saved.part(f"kept.{k}"))
                for k in range(self.chunk_steps.caches)
            ]
            decoder = show_again(self, saved.past(self.chunk_steps.caches))
        return StreamState(
            caches=caches,
            conditioning=conditioning,
            generator=saved.generator(),
            decoder=decoder,
            returns=saved.returns(),
            **{k: saved.plain[k] for k in ("seed", "scene", "prompt", "chunk_index", "restart")},
        )

    def _new_caches(self) -> CachesOnDemand:
        return CachesOnDemand(self.new_cache, self.chunk_steps.caches)

    def _leads(self, parts: Mapping[str, PlanPart]) -> list[LeadIn]:
        """What the decoder is shown before a stream."""
        leads = [each.lead_in(parts[kind]) for kind, each in self._conditioners.items()]
        return [lead for lead in leads if lead is not None]

    def _check(self, request: StreamRequest) -> None:
        """Raise ValueError for what is not taken, or needed and not there."""
        name, inputs = self._preset.name, self.info.inputs
        known = inputs.names
        if request.scene is not None or request.picture is not None:
            raise ValueError(f"{name} takes {', '.join(sorted(known))}, no scene or picture")
        if request.image is not None and inputs.image is None:
            raise ValueError(f"{name} takes {', '.join(sorted(known))}, no image")
        if request.image is None and inputs.image is not None and inputs.image.required:
            raise ValueError(f"{name} needs an image to start from; give one")


def rgb_levels(frames: Tensor) -> Tensor:
    """uint8 RGB [T, H, W, 3] of frames [T, 3, H, W], about -1 to 1."""
    levels = frames.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous()


def yuv_levels(frames: Tensor) -> Tensor:
    """uint8 planes [T, 3 H / 2, W] of frames [T, 3, H, W], about -1 to 1."""
    return yuv420(frames)
