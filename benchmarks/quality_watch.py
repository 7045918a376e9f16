"""A viewer of a model: steps it through its public interface and times every step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.stream import Chunk, Controls, Stepper
from .quality_signals import to_signed


class Watch:
    """Drives `model`; `step_s` holds how long each step took."""

    def __init__(self, model: Stepper[Any]) -> None:
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
        samples = self.model.info.chunk_samples
        state = self.model.start(seed=seed, scene=look)
        for k in range(count + self.late_chunks):
            place = np.arange(k * samples, (k + 1) * samples) % max(1, len(audio))
            piece = audio[place] if len(audio) else audio
            chunk = self.step(state, Controls(audio=piece))
            if k >= self.late_chunks:
                yield chunk

    def speak(self, look: str, audio: np.ndarray) -> Tensor:
        """Frames -1..1 [T, 3, H, W] of a look that says `audio` once, aligned to it."""
        samples = self.model.info.chunk_samples
        count = -(-len(audio) // samples)
        padded = np.pad(audio, (0, (count + self.late_chunks) * samples - len(audio)))
        return torch.cat([to_signed(c.frames) for c in self.chunks(look, padded, count)])
