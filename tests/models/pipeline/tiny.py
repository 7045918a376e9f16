"""A staged model with a random student and up to four steps, quick enough for every test.

Its frames are the bytes of its latents, so that equal frames are equal latents, bit for bit.
Stage processes import it by name: nothing of the tests' packages is imported here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rollcast.models.chunk_steps import ChunkSteps
from rollcast.models.contract import (
    Chunk,
    Controls,
    ModelInfo,
    ModelInputs,
    PromptInput,
    Scene,
    SpeechInput,
    StreamRequest,
    TrackEvent,
    TracksInput,
)
from rollcast.models.sampling.batches import CallRow, call_rows
from rollcast.models.sampling.flow_schedule import FlowSchedule
from rollcast.models.sampling.renoise import Renoise
from rollcast.models.staged_model import ChunkPlan, Row, draw_seed, run_chunk, step_noise
from rollcast.models.state import DecoderState, SavedState, StreamState
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions
from rollcast.models.student.config import CacheConfig, StudentConfig
from rollcast.models.student.student_cache import StudentCache

STEPS = (1000.0, 750.0, 500.0, 250.0)
SHAPE = (1, 1, 6, 4, 4)
BREAK = "break"
WARM_UP = "warm"
"""What it is told while it is measured."""
STUDENT = StudentConfig(
    dim=48,
    ffn_dim=64,
    num_heads=2,
    num_layers=2,
    in_channels=6,
    out_channels=6,
    text_dim=10,
    text_len=5,
    freq_dim=16,
    patch=(1, 1, 1),
    rope="slot",
    prediction="sample",
    audio_tokens=3,
    audio_dim=6,
    frame_dim=7,
    track_channels=2,
    track_features=3,
    stem_kernel=3,
    head_kernel=3,
)
CACHE = CacheConfig(window_frames=4, sink_frames=1, sink="static")
INFO = ModelInfo(
    name="tiny",
    title="Tiny",
    width=4,
    height=8,
    fps=25,
    chunk_frames=4,
    inputs=ModelInputs(
        scenes=(Scene("sun", "Sun", "scene"), Scene("moon", "Moon", "scene")),
        prompt=PromptInput((WARM_UP,)),
        speech=SpeechInput(),
        tracks=TracksInput(),
    ),
)


@dataclass
class TinyConditioning:
    """Words, the newest pointer, and a trace of the speech."""

    words: Tensor
    point: Tensor
    speech: Tensor

    def tensors(self) -> Mapping[str, Tensor]:
        return {"words": self.words, "point": self.point, "speech": self.speech}

    def metadata(self) -> dict[str, Any]:
        return {}


TinyState = StreamState[TinyConditioning]


class TinyModel:
    """`step_s` makes each denoising step last at least so long, as on a slower device."""

    def __init__(
        self, dtype: str = "float32", step_s: float = 0.0, decode_s: float = 0.0, steps: int = 4
    ) -> None:
        torch.set_num_threads(1)
        self.chunk_steps = ChunkSteps.cache_per_step(STEPS[:steps])
        self.decoder_is_causal = False
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._step_s, self._decode_s = step_s, decode_s
        torch.manual_seed(0)
        self._student = CausalStudent(STUDENT).eval()
        for parameter in self._student.parameters():
            torch.nn.init.normal_(parameter, std=0.15)
        self._student.requires_grad_(False).to(self._dtype)
        self._schedule = FlowSchedule(3.0)
        self.info = INFO

    def new_cache(self) -> StudentCache:
        return self._student.new_cache(CACHE, height=4, width=4)

    def start(self, request: StreamRequest) -> TinyState:
        scene, prompt = request.scene or "sun", request.prompt or ""
        if scene not in ("sun", "moon"):
            raise ValueError(f"unknown scene {scene!r}")
        return StreamState(
            caches=[self.new_cache() for _ in range(self.chunk_steps.caches)],
            conditioning=TinyConditioning(_drawn(prompt, 5, 10), torch.zeros(2), torch.zeros(6)),
            generator=torch.Generator().manual_seed(request.seed),
            seed=request.seed,
            scene=scene,
            prompt=prompt,
        )

    def step(self, state: TinyState, controls: Controls) -> Chunk:
        return run_chunk(self, state, controls)

    def prepare(self, state: TinyState, controls: Controls) -> ChunkPlan:
        conditioning = state.conditioning
        if controls.seed is not None or controls.reset:
            state.seed = state.seed if controls.seed is None else controls.seed
            state.generator.manual_seed(state.seed)
            conditioning.speech, conditioning.point, state.restart = (
                torch.zeros(6),
                torch.zeros(2),
                True,
            )
        if controls.prompt == BREAK:
            raise RuntimeError("the model broke")
        if controls.prompt is not None:
            state.prompt, conditioning.words = controls.prompt, _drawn(controls.prompt, 5, 10)
        if controls.scene is not None:
            if controls.scene not in ("sun", "moon"):
                raise ValueError(f"unknown scene {controls.scene!r}")
            state.scene, state.restart = controls.scene, True
        for event in controls.tracks:
            conditioning.point = torch.tensor([event.x, event.y])
        if controls.clear_audio:
            conditioning.speech = torch.zeros(6)
        heard = np.zeros(INFO.chunk_samples, np.int16)
        heard[: len(controls.audio)] = controls.audio
        level = float(np.abs(heard).mean()) / 32768
        conditioning.speech = torch.cat([conditioning.speech[1:], torch.tensor([10 * level])])
        plan = ChunkPlan(
            state.chunk_index,
            draw_seed(state.generator),
            state.restart,
            {"scene": state.scene, "talking": level > 0},
            {
                "words": conditioning.words,
                "speech": conditioning.speech.expand(1, 1, 3, 6).clone(),
                "point": conditioning.point,
                "heard": torch.from_numpy(heard),
            },
        )
        state.chunk_index += 1
        state.restart = False
        return plan

    @torch.inference_mode()
    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        time.sleep(self._step_s * len(rows))
        return call_rows(self._student, [self._row(row) for row in rows], fill=fill)

    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        time.sleep(self._decode_s)
        frames = latents.float().contiguous().numpy().view(np.uint8).reshape(4, 8, 4, 3).copy()
        heard = plan.tensors["heard"].numpy()
        return Chunk(plan.index, frames, heard, plan.plain["talking"], plan.plain["scene"])

    def snapshot(self, state: TinyState) -> bytes:
        return state.to_bytes("tiny")

    def restore(self, data: bytes) -> TinyState:
        saved = SavedState.parse(data, "tiny")
        state = StreamState(
            caches=[self.new_cache() for _ in range(self.chunk_steps.caches)],
            conditioning=TinyConditioning(**saved.part("conditioning")),
            generator=saved.generator(),
            **{k: saved.plain[k] for k in ("seed", "scene", "prompt", "chunk_index", "restart")},
        )
        for k, metadata in enumerate(saved.plain["caches"]):
            state.caches[k].load(saved.part(f"cache.{k}"), metadata)
        return state

    def _row(self, row: Row) -> CallRow:
        told, dtype = row.plan.tensors, self._dtype
        context = self._student.encode_text(told["words"].to(dtype))
        tracks = told["point"].view(1, 1, 2, 1, 1).expand(1, 4, 2, 4, 4).to(dtype)
        conditions = Conditions(
            torch.full((1, 1, 7), 0.5, dtype=dtype), told["speech"].to(dtype), tracks
        )
        if row.plan.restart:
            picture = _drawn(row.plan.plain["scene"], *SHAPE[1:]).to(dtype)
            row.cache.reset()
            self._student(picture, torch.zeros(1, 1), context, row.cache, conditions)
            row.cache.advance(1)

        def noise(step: int) -> Tensor:
            return step_noise(row.plan, step, SHAPE).to(dtype)

        latents = noise(0) if row.latents is None else row.latents
        sampler = Renoise(self._schedule, STEPS, lambda _: noise(row.call + 1))
        return CallRow(latents, context, conditions, row.cache, sampler, row.call)


def _drawn(text: str, *shape: int) -> Tensor:
    """Values that follow from a text, [1, ...]."""
    generator = torch.Generator().manual_seed(sum(map(ord, text)))
    return torch.randn((1, *shape), generator=generator)


def control_log(chunks: int, seed: int = 0) -> list[Controls]:
    """Speech most of the time, and every other event while chunks are under way."""
    rng = np.random.default_rng(seed)
    log: list[Controls] = []
    for k in range(chunks):
        speech = (rng.standard_normal(INFO.chunk_samples) * 3000).astype(np.int16)
        log.append(
            Controls(
                audio=speech[: 0 if k % 5 == 4 else len(speech)],
                prompt=f"words {k}" if k % 7 == 3 else None,
                scene=("moon", "sun")[k // 11 % 2] if k % 11 == 5 else None,
                tracks=(TrackEvent(1, "move", *rng.random(2)),) if k % 3 == 1 else (),
                clear_audio=k % 13 == 8,
                reset=k % 17 == 16,
                seed=k if k % 23 == 21 else None,
            )
        )
    return log


class SoonWarm(TinyModel):
    """May be measured behind its start; `path` counts its measurements, as they begin.

    So many of them as `dies` says end its process at their second chunk.
    """

    is_soon_warm = True

    def __init__(self, path: str, dies: int = 0, step_s: float = 0.0) -> None:
        super().__init__(step_s=step_s, steps=1)
        self._path, self._dies = path, dies

    def prepare(self, state: TinyState, controls: Controls) -> ChunkPlan:
        if controls.prompt == WARM_UP:
            with open(self._path, "a+") as counted:
                counted.write("x")
                counted.seek(0)
                if len(counted.read()) <= self._dies:
                    os._exit(1)
        return super().prepare(state, controls)
