"""A staged model like the published ones: one cache, a clean pass, Wan's causal decoder, a prompt.

Random weights, three latents a chunk. Stage processes import it by name: nothing of the tests'
packages is imported here.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rollcast.kernels.dispatch import yuv420
from rollcast.models.chunk_steps import ChunkSteps
from rollcast.models.contract import (
    Chunk,
    Controls,
    ModelInfo,
    ModelInputs,
    PromptInput,
    StreamRequest,
)
from rollcast.models.download import downloaded
from rollcast.models.sampling.batches import CallRow, call_rows
from rollcast.models.sampling.flow_schedule import FlowSchedule
from rollcast.models.sampling.renoise import Renoise
from rollcast.models.staged_model import ChunkPlan, Row, draw_seed, run_chunk, step_noise
from rollcast.models.state import DecoderState, SavedState, StreamState
from rollcast.models.student.causal_student import NO_CONDITIONS, CausalStudent
from rollcast.models.student.conditioning import TextContext
from rollcast.models.student.config import CacheConfig, StudentConfig
from rollcast.models.student.student_cache import StudentCache
from rollcast.models.wan.decoder import WanDecoder, WanDecoderConfig
from rollcast.models.yuv_frames import YuvFrames

LATENTS = 3
SHAPE = (1, LATENTS, 4, 4, 4)
STUDENT = StudentConfig(
    dim=48,
    ffn_dim=64,
    num_heads=2,
    num_layers=2,
    in_channels=4,
    out_channels=4,
    text_dim=10,
    text_len=5,
    freq_dim=16,
)
CACHE = CacheConfig(window_frames=6, sink_frames=3)
DECODER = WanDecoderConfig(dim=2, latent_channels=4, residual_blocks=0)
SCHEDULE = FlowSchedule(5.0)
STEPS = SCHEDULE.warp((1000, 750, 500, 250))
INFO = ModelInfo(
    name="tiny-causal",
    title="Tiny causal",
    width=32,
    height=32,
    fps=16,
    chunk_frames=4 * LATENTS,
    first_chunk_frames=4 * LATENTS - 3,
    inputs=ModelInputs(prompt=PromptInput(("a dune", "a pier"))),
)
POISON = "poison "
"""A prompt that begins so does, in `prepare`, what its second word says."""


@dataclass
class CausalConditioning:
    """Words, and nothing else."""

    words: Tensor

    def tensors(self) -> Mapping[str, Tensor]:
        return {"words": self.words}

    def metadata(self) -> dict[str, Any]:
        return {}


CausalState = StreamState[CausalConditioning]


class TinyCausal:
    """`kept` notes every chunk's latents and frames as they were before they became pixels.

    It cannot be made while there is a file `broken`. A call takes `call_s` longer, for however many
    rows.
    """

    def __init__(
        self,
        dtype: str = "float32",
        decode_s: float = 0.0,
        broken: str = "",
        yuv: bool = False,
        batches: bool = False,
        call_s: float = 0.0,
    ) -> None:
        if broken and Path(broken).exists():
            raise OSError("no weights today")
        torch.set_num_threads(1)
        self.info = INFO
        self.chunk_steps = ChunkSteps.one_cache(STEPS)
        self._yuv = yuv
        self.decoder_is_causal = True
        self.kept: list[tuple[Tensor, Tensor]] = []
        self._dtype: torch.dtype = getattr(torch, dtype)
        self.batches = batches
        self._decode_s, self._call_s = decode_s, call_s
        torch.manual_seed(0)
        self.student = _filled(CausalStudent(STUDENT), 0.15).to(self._dtype)
        self.decoder = _filled(WanDecoder(DECODER), 0.2).to(self._dtype)

    def new_cache(self) -> StudentCache:
        return self.student.new_cache(CACHE, height=4, width=4)

    def start(self, request: StreamRequest) -> CausalState:
        if request.scene is not None:
            raise ValueError(f"unknown scene {request.scene!r}; this model has none")
        prompt = request.prompt or ""
        return StreamState(
            caches=[self.new_cache()],
            conditioning=CausalConditioning(words_of(prompt)),
            generator=torch.Generator().manual_seed(request.seed),
            seed=request.seed,
            scene="",
            prompt=prompt,
        )

    def step(self, state: CausalState, controls: Controls) -> Chunk:
        return run_chunk(self, state, controls)

    def prepare(self, state: CausalState, controls: Controls) -> ChunkPlan:
        if controls.seed is not None or controls.reset:
            state.seed = state.seed if controls.seed is None else controls.seed
            state.generator.manual_seed(state.seed)
            state.restart = True
        if controls.prompt is not None:
            if controls.prompt.startswith(POISON):
                breaking = importlib.import_module("breakable")
                breaking.break_by(controls.prompt.removeprefix(POISON))
            state.prompt, state.conditioning.words = controls.prompt, words_of(controls.prompt)
        plan = ChunkPlan(
            state.chunk_index,
            draw_seed(state.generator),
            state.restart,
            {},
            {"words": state.conditioning.words},
        )
        state.chunk_index += 1
        state.restart = False
        return plan

    @torch.inference_mode()
    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        time.sleep(self._call_s)
        return call_rows(self.student, [self._row(row) for row in rows], fill=fill)

    @torch.inference_mode()
    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        time.sleep(self._decode_s)
        frames = self.decoder(latents, state.memory)[0]
        self.kept.append((latents, frames))
        pictures = pixels(frames)
        if self._yuv:
            coming = downloaded(yuv420(frames))
            pictures = YuvFrames(coming, len(frames), INFO.height, INFO.width)
        return Chunk(plan.index, pictures, np.zeros(0, np.int16))

    def snapshot(self, state: CausalState) -> bytes:
        return state.to_bytes(INFO.name)

    def restore(self, data: bytes) -> CausalState:
        saved = SavedState.parse(data, INFO.name)
        state = StreamState(
            caches=[self.new_cache()],
            conditioning=CausalConditioning(**saved.part("conditioning")),
            generator=saved.generator(),
            decoder=saved.decoder(),
            **{k: saved.plain[k] for k in ("seed", "scene", "prompt", "chunk_index", "restart")},
        )
        for k, metadata in enumerate(saved.plain["caches"]):
            state.caches[k].load(saved.part(f"cache.{k}"), metadata)
        return state

    def context(self, words: Tensor) -> TextContext:
        return self.student.encode_text(words.to(self._dtype))

    def noise(self, plan: ChunkPlan, call: int) -> Tensor:
        return step_noise(plan, call, SHAPE).to(self._dtype)

    def _row(self, row: Row) -> CallRow:
        call, plan = self.chunk_steps.calls[row.call], row.plan
        if plan.restart and row.call == 0:
            row.cache.reset()
        times = [each.timestep for each in self.chunk_steps.calls if not each.clean_pass]
        sampler = Renoise(SCHEDULE, times, lambda _: self.noise(plan, row.call + 1))
        return CallRow(
            self.noise(plan, 0) if row.latents is None else row.latents,
            self.context(plan.tensors["words"]),
            NO_CONDITIONS,
            row.cache,
            None if call.clean_pass else sampler,
            row.call,
            clean_timestep=call.timestep,
            advances=self.chunk_steps.last_on_cache(row.call),
        )


def words_of(prompt: str) -> Tensor:
    """Values that follow from a prompt, [1, 5, 10]."""
    generator = torch.Generator().manual_seed(sum(map(ord, prompt)))
    return torch.randn((1, 5, 10), generator=generator)


def pixels(frames: Tensor) -> np.ndarray:
    """uint8 RGB [T, H, W, 3] of frames [T, 3, H, W]."""
    levels = frames.mul(250).add(127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().numpy()


def causal_log(chunks: int) -> list[Controls]:
    """Prompts, resets and seeds while chunks are under way."""
    return [
        Controls(
            prompt=f"words {k}" if k % 5 == 3 else None,
            reset=k % 11 == 7,
            seed=k if k % 19 == 13 else None,
        )
        for k in range(chunks)
    ]


def frame_counts(log: Sequence[Controls]) -> list[int]:
    """How many frames each chunk has: fewer where the decoder starts anew."""
    anew = [k == 0 or each.reset or each.seed is not None for k, each in enumerate(log)]
    return [INFO.first_chunk_frames or 0 if each else INFO.chunk_frames for each in anew]


def _filled(module: Any, spread: float) -> Any:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return module.eval().requires_grad_(False)
