"""Live Avatar's recorded student as a staged model, whose sink becomes its own first latent.

The first blocks of seed 0 are the recorded case; then noise is drawn, and speech may be fed. Its
frames are the bytes of its latents. Stage processes import it by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
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
)
from rollcast.models.live_avatar.inputs import encode_sink, speech_tokens
from rollcast.models.parity.avatar import avatar_cache, avatar_config, avatar_schedule
from rollcast.models.sampling.batches import CallRow, call_rows
from rollcast.models.sampling.euler import Euler
from rollcast.models.staged_model import ChunkPlan, Row, draw_seed, run_chunk, step_noise
from rollcast.models.state import DecoderState, SavedState, StreamState
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions
from rollcast.models.student.student_cache import StudentCache
from rollcast.models.wan.weights import load_weights, plain_names

INFO = ModelInfo(
    name="tiny-avatar",
    title="Tiny avatar",
    width=32,
    height=32,
    fps=25,
    chunk_frames=4,
    inputs=ModelInputs(
        scenes=(Scene("recorded", "Recorded", "avatar"), Scene("other", "Other", "avatar")),
        prompt=PromptInput(("warm",)),
        speech=SpeechInput(),
    ),
)
_FEATURES = (1, 25, 32, 12)


@dataclass
class AvatarConditioning:
    """Words, and the chunk whose sink will be the stream's own first latent."""

    words: Tensor
    own_from: int = -1

    def tensors(self) -> Mapping[str, Tensor]:
        return {"words": self.words}

    def metadata(self) -> dict[str, Any]:
        return {"own_from": self.own_from}


AvatarState = StreamState[AvatarConditioning]


class TinyAvatar:
    """`case` is the recorded case; with `early` chunks too few the sink would come too soon."""

    def __init__(self, case: str, early: int = 0) -> None:
        torch.set_num_threads(1)
        path = Path(case)
        recorded = json.loads(path.read_text())
        self._recorded = load_file(path.parent / recorded["inputs"])
        self._student = CausalStudent(avatar_config(recorded)).eval().requires_grad_(False)
        load_weights(self._student, plain_names(load_file(path.parent / recorded["weights"])))
        self._cache = avatar_cache(recorded)
        self._sampler = Euler(avatar_schedule(recorded, self._recorded))
        self.chunk_steps = ChunkSteps.cache_per_step(self._sampler.timesteps)
        self.decoder_is_causal = False
        self._motion = self._recorded["motion"].transpose(1, 2)
        self._early = early
        self.info = INFO

    def new_cache(self) -> StudentCache:
        return self._student.new_cache(self._cache, height=8, width=8)

    def start(self, request: StreamRequest) -> AvatarState:
        prompt = request.prompt or ""
        return StreamState(
            caches=[self.new_cache() for _ in range(self.chunk_steps.caches)],
            conditioning=AvatarConditioning(self._words(prompt)),
            generator=torch.Generator().manual_seed(request.seed),
            seed=request.seed,
            scene=request.scene or "recorded",
            prompt=prompt,
        )

    def step(self, state: AvatarState, controls: Controls) -> Chunk:
        return run_chunk(self, state, controls)

    def prepare(self, state: AvatarState, controls: Controls) -> ChunkPlan:
        conditioning, index = state.conditioning, state.chunk_index
        if controls.seed is not None or controls.reset:
            state.seed = state.seed if controls.seed is None else controls.seed
            state.generator.manual_seed(state.seed)
            state.restart = True
        if controls.prompt is not None:
            state.prompt, conditioning.words = controls.prompt, self._words(controls.prompt)
        if controls.scene is not None:
            state.scene, state.restart = controls.scene, True
        tensors = {"words": conditioning.words, "features": self._features(controls, index)}
        own = state.returns.pop(index, None)
        if own is not None and index == conditioning.own_from and not state.restart:
            tensors["own"] = own[:, :1]
        if state.restart:
            conditioning.own_from = index + self.chunk_steps.steps - self._early
        plan = ChunkPlan(
            index,
            draw_seed(state.generator),
            state.restart,
            {"scene": state.scene, "recorded": state.seed == 0},
            tensors,
            needed_by=conditioning.own_from if state.restart else None,
        )
        state.chunk_index += 1
        state.restart = False
        return plan

    @torch.inference_mode()
    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        return call_rows(self._student, [self._row(row) for row in rows], fill=fill)

    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        frames = latents.contiguous().numpy().view(np.uint8).reshape(4, 32, 32, 3).copy()
        heard = np.zeros(INFO.chunk_samples, np.int16)
        return Chunk(plan.index, frames, heard, False, plan.plain["scene"])

    def snapshot(self, state: AvatarState) -> bytes:
        return state.to_bytes(INFO.name)

    def restore(self, data: bytes) -> AvatarState:
        saved = SavedState.parse(data, INFO.name)
        caches = [self.new_cache() for _ in range(self.chunk_steps.caches)]
        for k, metadata in enumerate(saved.plain["caches"]):
            caches[k].load(saved.part(f"cache.{k}"), metadata)
        return StreamState(
            caches=caches,
            conditioning=AvatarConditioning(
                **saved.part("conditioning"), **saved.plain["conditioning"]
            ),
            generator=saved.generator(),
            returns=saved.returns(),
            **{k: saved.plain[k] for k in ("seed", "scene", "prompt", "chunk_index", "restart")},
        )

    def _row(self, row: Row) -> CallRow:
        plan, told = row.plan, row.plan.tensors
        context = self._student.encode_text(told["words"])
        if plan.restart:
            row.cache.reset()
        if plan.restart or "own" in told:
            reference = self._reference(plan) if plan.restart else told["own"]
            row.cache.set_sink(encode_sink(self._student, reference, self._motion, context))
        latents = self._noise(plan) if row.latents is None else row.latents
        conditions = Conditions(speech=speech_tokens(self._student, told["features"]))
        return CallRow(latents, context, conditions, row.cache, self._sampler, row.call)

    def _noise(self, plan: ChunkPlan) -> Tensor:
        recorded = self._recorded["noise"]
        if plan.plain["recorded"] and plan.index < len(recorded):
            return recorded[plan.index].transpose(0, 1)[None]
        return step_noise(plan, 0, (1, 3, 16, 8, 8))

    def _reference(self, plan: ChunkPlan) -> Tensor:
        if plan.plain["scene"] == "recorded":
            return self._recorded["ref"].transpose(1, 2)
        return torch.randn(1, 1, 16, 8, 8, generator=torch.Generator().manual_seed(5))

    def _words(self, prompt: str) -> Tensor:
        if not prompt:
            return self._recorded["text"][None]
        generator = torch.Generator().manual_seed(sum(map(ord, prompt)))
        return torch.randn(1, 5, 24, generator=generator)

    def _features(self, controls: Controls, index: int) -> Tensor:
        """Of the speech that was fed, or else of the recorded speech."""
        if len(controls.audio):
            count = int(np.prod(_FEATURES))
            return torch.from_numpy(np.resize(controls.audio / 3000, count)).float().view(_FEATURES)
        first = 12 * index % self._recorded["audio"].shape[3]
        return self._recorded["audio"][..., first : first + 12].clone()
