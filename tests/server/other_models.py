"""Test patterns that differ: chunks of several lengths, and a model that takes almost nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from rollcast.kernels.yuv420.yuv420_torch import yuv420_torch
from rollcast.models.contract import Chunk, Controls, ModelInputs, StreamRequest
from rollcast.models.test_pattern import CHUNK_FRAMES, CHUNK_SAMPLES, TestPattern, TestPatternState
from rollcast.models.yuv_frames import YuvFrames

FIRST, USUAL = CHUNK_FRAMES, 3 * CHUNK_FRAMES


class CausalPattern(TestPattern):
    """A first chunk of 4 frames, after a start or a reset, and then chunks of 12."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, chunk_frames=USUAL, first_chunk_frames=FIRST)

    def step(self, state: object, controls: Controls) -> Chunk:
        """One step of the pattern, or three of them as one chunk."""
        assert isinstance(state, TestPatternState)
        starts = controls.reset or state.chunk == 0
        index, heard = state.chunk, controls.audio
        steps = [replace(controls, audio=heard[:CHUNK_SAMPLES])]
        for number in range(1, 1 if starts else USUAL // CHUNK_FRAMES):
            begin = number * CHUNK_SAMPLES
            steps.append(Controls(audio=heard[begin : begin + CHUNK_SAMPLES]))
        chunks = [super(CausalPattern, self).step(state, each) for each in steps]
        state.chunk = index + 1
        return replace(
            chunks[-1],
            index=index,
            pictures=np.concatenate([chunk.frames for chunk in chunks]),
            audio=np.concatenate([chunk.audio for chunk in chunks]),
            talking=any(chunk.talking for chunk in chunks),
        )


class YuvPattern(TestPattern):
    """As from a GPU: its frames are planes."""

    def step(self, state: object, controls: Controls) -> Chunk:
        """A step of the pattern."""
        chunk = super().step(state, controls)
        signed = torch.from_numpy(chunk.frames).permute(0, 3, 1, 2) / 127.5 - 1
        planes = yuv420_torch(signed).numpy()
        return replace(chunk, pictures=YuvFrames(planes, len(planes), *chunk.frames.shape[1:3]))


class BarePattern(TestPattern):
    """No scenes, no prompt, no sound, nothing to hold: it only runs, and takes a seed or not."""

    def __init__(self, *, seed: bool = True) -> None:
        super().__init__()
        self.info = replace(
            self.info, name="bare", title="Bare", inputs=ModelInputs(seed=seed), fps=20
        )

    def start(self, request: StreamRequest) -> TestPatternState:
        """A stream of the pattern's first scene, which nobody is told of."""
        assert request.scene is None
        return super().start(request)

    def step(self, state: object, controls: Controls) -> Chunk:
        """A step whose chunk has frames alone."""
        assert not len(controls.audio)
        return replace(super().step(state, controls), audio=np.zeros(0, np.int16), scene=None)
