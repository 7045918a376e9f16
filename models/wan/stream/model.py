"""A published causal student of Wan as a stream: a prompt and a seed in, chunks of frames out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...chunk_steps import ChunkSteps
from ...contract import Chunk, Controls, StreamRequest
from ...sampling.batches import StepInput, denoise_rows
from ...sampling.denoising import FlowSchedule, recache
from ...staged_model import ChunkPlan, Row, draw_seed, run_chunk, step_noise
from ...state import DecoderState, SavedState, StreamState
from ...student.causal_student import NO_CONDITIONS, CausalStudent
from ...student.kv_cache import StudentCache
from ..decoder import WanDecoder
from ..presets.preset import EXAMPLES, Preset
from .prompts import Prompts

_LATENTS = "latents"


@dataclass(slots=True)
class WanConditioning:
    """The embeddings [L, text_dim] of the stream's prompt."""

    text: Tensor

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        return {"text": self.text}

    def metadata(self) -> dict[str, Any]:
        """Nothing beside them."""
        return {}


WanState = StreamState[WanConditioning]


class WanModel:
    """A preset with its weights; every stream's state is a `StreamState`.

    `size` is the width and height of the frames in pixels. Latents are in the type of the student,
    as published. Raises ValueError for a size that the preset cannot have.
    """

    def __init__(
        self,
        preset: Preset,
        student: CausalStudent,
        decoder: WanDecoder,
        prompts: Prompts,
        size: tuple[int, int],
    ) -> None:
        rows, columns = preset.latent_size(size)
        self._preset = preset
        self._student = student
        self._decoder = decoder
        self._prompts = prompts
        self._schedule = FlowSchedule(preset.shift)
        self._shape = (1, preset.chunk, student.config.in_channels, rows, columns)
        self._weight = student.patch_embedding.weight
        self.chunk_steps = ChunkSteps.one_cache(self._schedule.warp(preset.longest_steps))
        self._usual = frozenset(self._schedule.warp(preset.steps))
        self.decoder_is_causal = True
        self.info = preset.info(size)

    def start(self, request: StreamRequest) -> WanState:
        """A new stream. Raises ValueError for a scene or a picture: there are none."""
        if request.scene is not None or request.picture is not None:
            raise ValueError(f"{self._preset.name} takes a prompt and a seed, no scene or picture")
        prompt = EXAMPLES[0] if request.prompt is None else request.prompt
        return StreamState(
            caches=[self.new_cache()],
            conditioning=WanConditioning(self._prompts.embeddings(prompt)),
            generator=torch.Generator().manual_seed(request.seed),
            seed=request.seed,
            scene="",
            prompt=prompt,
        )

    def step(self, state: WanState, controls: Controls) -> Chunk:
        """Advance by one chunk."""
        return run_chunk(self, state, controls)

    def new_cache(self) -> StudentCache:
        """An empty cache; with room for latents where a prompt switch needs them."""
        return new_stream_cache(self._preset, self._student, *self._shape[3:])

    @torch.inference_mode()
    def prepare(self, state: WanState, controls: Controls) -> ChunkPlan:
        """Obey; a prompt that was not read before is waited for."""
        if controls.reset or controls.seed is not None:
            state.seed = state.seed if controls.seed is None else controls.seed
            state.generator.manual_seed(state.seed)
            state.restart = True
        switched = controls.prompt is not None and controls.prompt != state.prompt
        if controls.prompt is not None and switched:
            state.prompt = controls.prompt
            state.conditioning.text = self._prompts.embeddings(controls.prompt)
        recaches = switched and self._preset.prompt_switch == "recache" and not state.restart
        plan = ChunkPlan(
            index=state.chunk_index,
            noise_seed=draw_seed(state.generator),
            restart=state.restart,
            plain={"recaches": recaches},
            tensors={"text": state.conditioning.text},
        )
        state.chunk_index += 1
        state.restart = False
        return plan

    @torch.inference_mode()
    def denoise(self, rows: Sequence[Row]) -> list[Tensor]:
        """Take each row's latents through its call, if its chunk makes that one."""
        for row in rows:
            self._before(row)
        acting = [row for row in rows if self._acts(row)]
        inputs = [self._input(row) for row in acting]
        made = denoise_rows(self._student, inputs, self._schedule) if inputs else []
        for row, latents in zip(acting, made, strict=True):
            if self.chunk_steps.last_on_cache(row.call):
                _keep(row.cache, latents)
        results = iter(made)
        return [next(results) if self._acts(row) else _given(row) for row in rows]

    @torch.inference_mode()
    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        """The frames of a chunk's latents."""
        weight = self._decoder.conv2.weight
        for name, tensor in state.memory.items():
            # a snapshot is restored on the CPU
            state.memory[name] = tensor.to(weight.device)
        given = latents.to(weight.device, weight.dtype)
        pictures = to_levels(self._decoder.decode(given, state.memory))[0].cpu().numpy()
        return Chunk(plan.index, pictures, np.zeros(0, np.int16))

    def snapshot(self, state: WanState) -> bytes:
        """The whole state as bytes."""
        return state.to_bytes(self._preset.name)

    def restore(self, data: bytes) -> WanState:
        """The state of a snapshot. Raises ValueError if it is none of this model."""
        saved = SavedState.parse(data, self._preset.name)
        state: WanState = StreamState(
            caches=[self.new_cache()],
            conditioning=WanConditioning(**saved.part("conditioning")),
            generator=saved.generator(),
            decoder=saved.decoder(),
            **{k: saved.plain[k] for k in ("seed", "scene", "prompt", "chunk_index", "restart")},
        )
        for k, metadata in enumerate(saved.plain["caches"]):
            state.caches[k].load(saved.part(f"cache.{k}"), metadata)
        return state

    def _acts(self, row: Row) -> bool:
        """Whether a call is one of its chunk's: the first may take more than others."""
        call = self.chunk_steps.calls[row.call]
        return call.clean_pass or row.plan.restart or call.timestep in self._usual

    def _before(self, row: Row) -> None:
        """What a chunk's first call does to the cache before it."""
        if row.call:
            return
        if row.plan.restart:
            row.cache.reset()
        elif row.plan.plain["recaches"]:
            held = min(row.cache.config.capacity_frames, row.cache.position)
            latents = row.cache.kept[_LATENTS][:, -held:]
            recache(self._student, row.cache, latents, self._context(row.plan))

    def _input(self, row: Row) -> StepInput:
        call = self.chunk_steps.calls[row.call]
        noise = None
        if not call.clean_pass:
            noise = step_noise(row.plan, row.call, self._shape).to(self._weight)
        return StepInput(
            call.timestep,
            noise,
            row.latents,
            self._context(row.plan),
            NO_CONDITIONS,
            row.cache,
            advances=self.chunk_steps.last_on_cache(row.call),
            clean_pass=call.clean_pass,
        )

    def _context(self, plan: ChunkPlan) -> Any:
        return self._prompts.context(self._student, plan.tensors["text"])


def to_levels(frames: Tensor) -> Tensor:
    """uint8 [B, T, H, W, 3] of frames [B, T, 3, H, W], about -1 to 1."""
    levels = frames.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 1, 3, 4, 2).contiguous()


def new_stream_cache(
    preset: Preset, student: CausalStudent, rows: int, columns: int
) -> StudentCache:
    """An empty cache of a stream of `rows` x `columns` latents."""
    cache = student.new_cache(preset.cache, height=rows, width=columns)
    if preset.prompt_switch == "recache":
        channels = student.config.in_channels
        shape = (1, preset.cache.capacity_frames, channels, rows, columns)
        with torch.inference_mode(False):
            cache.kept[_LATENTS] = student.patch_embedding.weight.new_zeros(shape)
    return cache


def _keep(cache: StudentCache, latents: Tensor) -> None:
    """Note a chunk's clean latents behind those before it, if this cache has room for any."""
    kept = cache.kept.get(_LATENTS)
    if kept is not None:
        frames = latents.shape[1]
        kept.copy_(torch.cat((kept[:, frames:], latents), dim=1))


def _given(row: Row) -> Tensor:
    assert row.latents is not None, "a chunk's first call is always made"
    return row.latents
