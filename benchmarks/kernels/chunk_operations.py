"""`python -m rollcast.benchmarks.kernels.chunk_operations`: what a chunk of each preset asks of a
GPU, counted on `meta`: operations, launches of our kernels, passes over memory. No time is measured
and no GPU is needed.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...kernels.gpu import Capability
from ...models.sampling.batches import CallRow, call_rows
from ...models.student.causal_student import CausalStudent
from ...models.student.conditioning import TextContext
from ...models.wan.presets.preset import Preset
from ...models.wan.stream.memory_plan import blank_conditions, blank_context

HOPPER: Capability = (9, 0)


class MetaStream:
    """A stream of a preset's student on `meta`, chunk by chunk; `layers` instead of all of them."""

    def __init__(self, preset: Preset, *, layers: int | None = None) -> None:
        config = preset.student
        if layers is not None and config.avatar is None:
            config = replace(config, num_layers=layers)
        self.preset = preset
        self._size = preset.latent_size(preset.size)
        with torch.device("meta"):
            self.student = CausalStudent(config).eval().to(torch.bfloat16)
        self.student.requires_grad_(False)
        rows, columns = self._size
        self.caches = [
            self.student.new_cache(preset.cache, height=rows, width=columns)
            for _ in range(preset.recipe.chunk_steps().caches)
        ]
        self._chunk = 0

    def context(self) -> TextContext:
        """What it attends to of a prompt."""
        return blank_context(self.student)

    def make_chunk(self, context: TextContext) -> None:
        """All calls of the next chunk, of one that takes as many as any."""
        recipe = self.preset.recipe
        frames = recipe.chunk_frames
        latents = self._latents(frames)
        conditions = blank_conditions(self.student.config, frames, self._size, torch.bfloat16)
        sampler = recipe.sampler_for(self._chunk, lambda x: torch.empty_like(x))
        memory: dict[str, Tensor] = {}
        calls, steps = recipe.chunk_steps(), recipe.step_of_call(self._chunk)
        for number, call in enumerate(calls.calls):
            row = CallRow(
                latents, context, conditions, self.caches[call.cache],
                clean_timestep=call.timestep, advances=calls.last_on_cache(number),
            )  # fmt: skip
            if not call.clean_pass:
                step = steps[number]
                if step is None:
                    continue
                row = replace(row, sampler=sampler, step=step, memory=memory)
            (latents,) = call_rows(self.student, [row])
        self._chunk += 1

    def _latents(self, frames: int) -> Tensor:
        shape = (1, frames, self.student.config.in_channels, *self._size)
        return torch.empty(shape, dtype=torch.bfloat16, device="meta")
