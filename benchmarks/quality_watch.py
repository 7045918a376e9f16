"""A viewer of a model: steps it through its public interface and times every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.stages.contract import Row, StagedModel
from ..models.stream import Chunk, Controls
from .quality_signals import to_signed


class Watch:
    """Drives `model`; `step_s` holds how long each step took."""

    def __init__(self, model: StagedModel[Any]) -> None:
        self.model = model
        self.step_s: list[float] = []
        info = model.info
        # what is shown is late by the model's look-ahead
        self.late_chunks = max(1, round(info.lookahead_ms * 1000 / info.chunk_us))

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
        state = self.model.start(seed=seed, scene=look)
        for k in range(count + self.late_chunks):
            chunk = self.step(state, Controls(audio=self._heard(audio, k)))
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
        states = [self.model.start(seed=k, scene=look) for k, look in enumerate(looks)]
        for k in range(count + self.late_chunks):
            orders = [
                self.model.front(state, Controls(audio=self._heard(audio, k)))
                for state, audio in zip(states, speeches, strict=True)
            ]
            latents: list[Tensor | None] = [None] * len(states)
            for step in range(self.model.steps):
                latents[:] = self.model.denoise(
                    [
                        Row(order, step, sample, state.caches[step])
                        for order, sample, state in zip(orders, latents, states, strict=True)
                    ]
                )
            if k >= self.late_chunks and seen(k - self.late_chunks):
                done = zip(orders, latents, states, strict=True)
                yield (
                    k - self.late_chunks,
                    [self.model.decode(o, x, state.kept) for o, x, state in done if x is not None],
                )

    def _heard(self, audio: np.ndarray, chunk: int) -> np.ndarray:
        """A chunk's samples of speech that is said over and over."""
        samples = self.model.info.chunk_samples
        place = np.arange(chunk * samples, (chunk + 1) * samples) % max(1, len(audio))
        return audio[place] if len(audio) else audio

    def speak(self, look: str, audio: np.ndarray, seed: int = 0) -> Tensor:
        """Frames -1..1 [T, 3, H, W] of a look that says `audio` once, aligned to it."""
        samples = self.model.info.chunk_samples
        count = -(-len(audio) // samples)
        padded = np.pad(audio, (0, (count + self.late_chunks) * samples - len(audio)))
        return torch.cat([to_signed(c.frames) for c in self.chunks(look, padded, count, seed)])
