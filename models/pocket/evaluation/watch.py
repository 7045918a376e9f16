"""A viewer of a model: steps it through its public interface and times every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...contract import Chunk, Controls, StreamRequest
from ...staged_model import StagedModel, all_calls
from .signals import said_again, to_signed


class Watch:
    """Drives `model`; `step_s` holds how long each step took."""

    def __init__(self, model: StagedModel[Any]) -> None:
        self.model = model
        self.step_s: list[float] = []
        info = model.info
        speech = info.inputs.speech
        assert speech is not None, "only models that hear are watched"
        self.sample_rate = speech.sample_rate
        # what is shown is late by the model's look-ahead
        self.late_chunks = max(1, round(speech.lookahead_ms * 1000 / info.chunk_us))

    def step(self, state: object, controls: Controls) -> Chunk:
        """One step of `state`."""
        begin = time.perf_counter()
        chunk = self.model.step(state, controls)
        self.step_s.append(time.perf_counter() - begin)
        return chunk

    def rtf_p95(self) -> float:
        """The 95th percentile of step time over the time that a chunk lasts."""
        return float(np.percentile(self.step_s, 95)) / (self.model.info.chunk_us / 1e6)

    def chunks(self, look: str, audio: np.ndarray, count: int, seed: int = 0) -> Iterator[Chunk]:
        """`count` chunks of a look that says `audio` over and over, from its first sample on."""
        state, samples = (
            self.model.start(StreamRequest(seed=seed, scene=look)),
            self.model.info.chunk_samples,
        )
        for k in range(count + self.late_chunks):
            chunk = self.step(state, Controls(audio=said_again(audio, k, samples)))
            if k >= self.late_chunks:
                yield chunk

    def side_by_side(
        self,
        looks: Sequence[str],
        speeches: Sequence[np.ndarray],
        count: int,
        seen: Callable[[int], bool],
    ) -> Iterator[tuple[int, list[Chunk]]]:
        """Streams of `chunks` in one batch: the number and the chunks that are `seen`, by look.

        Chunks that nobody sees are not decoded, which makes half an hour of every look possible.
        Steps of a batch are not timed.
        """
        states = [
            self.model.start(StreamRequest(seed=k, scene=look)) for k, look in enumerate(looks)
        ]
        samples = self.model.info.chunk_samples
        for k in range(count + self.late_chunks):
            plans = [
                self.model.prepare(state, Controls(audio=said_again(audio, k, samples)))
                for state, audio in zip(states, speeches, strict=True)
            ]
            caches = [state.caches for state in states]
            latents = all_calls(self.model, list(zip(plans, caches, strict=True)))
            number = k - self.late_chunks
            if number >= 0 and seen(number):
                done = zip(plans, latents, states, strict=True)
                yield number, [self.model.decode(p, x, state.decoder) for p, x, state in done]

    def speak(self, look: str, audio: np.ndarray, seed: int = 0) -> Tensor:
        """Frames -1..1 [T, 3, H, W] of a look that says `audio` once, aligned to it."""
        samples = self.model.info.chunk_samples
        count = -(-len(audio) // samples)
        padded = np.pad(audio, (0, (count + self.late_chunks) * samples - len(audio)))
        return torch.cat([to_signed(c.frames) for c in self.chunks(look, padded, count, seed)])
