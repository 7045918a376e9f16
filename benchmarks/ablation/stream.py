"""A stream under a variant: latents of every chunk, frames of those that are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...models.contract import Controls, StreamRequest
from ...models.pocket.evaluation.signals import said_again
from ...models.pocket.model import PocketModel, PocketState
from ...models.sampling.denoising import denoise_chunk
from ...models.staged_model import ChunkPlan, Row, all_calls, step_noise
from .variants import Variant


class VariantModel(PocketModel):
    """The shipped weights, sampled as a variant says."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(cache=variant.cache, steps=variant.timesteps)
        self._variant = variant

    def begin(self, seed: int, look: str) -> PocketState:
        """A new stream with as many caches as the variant has."""
        state = self.start(StreamRequest(seed=seed, scene=look))
        if self._variant.clean_pass:
            state.caches = state.caches[:1]
        return state

    def latents(self, state: PocketState, plan: ChunkPlan) -> Tensor:
        """The clean latents of the chunk that `prepare` planned."""
        if self._variant.clean_pass:
            return self._with_clean_pass(state, plan)
        (sample,) = all_calls(self, [(plan, state.caches)])
        return sample

    @torch.inference_mode()
    def _with_clean_pass(self, state: PocketState, plan: ChunkPlan) -> Tensor:
        (cache,) = state.caches
        first = self.denoiser.call_row(Row(plan, 0, None, cache))
        steps = iter(range(1, self.chunk_steps.steps))
        return denoise_chunk(
            self.denoiser.student,
            cache,
            first.latents,
            self._variant.timesteps,
            first.context,
            first.conditions,
            schedule=self.denoiser.schedule,
            renoise=lambda _: step_noise(plan, next(steps), first.latents.shape),
        )


@dataclass(frozen=True, slots=True)
class Made:
    """Chunk `index`, counted from the first sample of the speech; `student_s` processor time."""

    index: int
    plan: ChunkPlan
    latents: Tensor
    student_s: float


class VariantStream:
    """A look that says `audio` over and over; with empty audio it says nothing."""

    def __init__(self, model: VariantModel, look: str, audio: np.ndarray, seed: int = 0) -> None:
        self._model = model
        self.state = model.begin(seed, look)
        self._audio = audio
        info = model.info
        speech = info.inputs.speech
        assert speech is not None, "a variant of the pocket model, which hears"
        self._late = max(1, round(speech.lookahead_ms * 1000 / info.chunk_us))
        self.decode_s: list[float] = []

    def chunks(self, count: int) -> Iterator[Made]:
        """The next `count` chunks; what comes before the speech's first sample is left out."""
        samples = self._model.info.chunk_samples
        for k in range(count + self._late):
            begin = time.process_time()
            plan = self._model.prepare(
                self.state, Controls(audio=said_again(self._audio, k, samples))
            )
            latents = self._model.latents(self.state, plan)
            spent = time.process_time() - begin
            if k >= self._late:
                yield Made(k - self._late, plan, latents, spent)

    def frames(self, made: Made) -> np.ndarray:
        """uint8 RGB [4, H, W, 3] of a chunk."""
        begin = time.process_time()
        frames = self._model.decode(made.plan, made.latents, self.state.decoder).frames
        self.decode_s.append(time.process_time() - begin)
        return frames


def median_ms(seconds: Sequence[float]) -> float:
    """The median of times, in milliseconds."""
    return 1e3 * float(np.median(seconds))
