"""`python -m rollcast.benchmarks.kernels.chunk_operations`: what a chunk of each preset asks of a
GPU, counted on `meta`: operations, launches of our kernels, passes over memory. No time is measured
and no GPU is needed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...kernels.dispatch import normal_noise
from ...kernels.gpu import Capability
from ...models.live_avatar.inputs import encode_sink
from ...models.sampling.batches import CallRow, call_rows
from ...models.sampling.joint_window import JointWindow, roll_window
from ...models.student.causal_student import CausalStudent
from ...models.student.conditioning import TextContext
from ...models.wan.number_types import NumberTypes, settle_all
from ...models.wan.presets.catalogue import presets
from ...models.wan.presets.preset import Preset
from ...models.wan.presets.reference_image import ReferenceImage
from ...models.wan.stream.memory_plan import blank_conditions, blank_context
from .operation_count import counted

HOPPER: Capability = (9, 0)
HALF = NumberTypes(torch.bfloat16)


class MetaStream:
    """A stream of a preset's student on `meta`, chunk by chunk; `layers` instead of all of them."""

    def __init__(
        self,
        preset: Preset,
        *,
        layers: int | None = None,
        pack: bool = True,
        types: NumberTypes = HALF,
    ) -> None:
        config = preset.student
        if layers is not None:
            avatar = config.avatar and replace(config.avatar, inject_layers=(0,))
            config = replace(config, num_layers=layers, avatar=avatar)
        self.preset = preset
        self._size = preset.latent_size(preset.size)
        with torch.device("meta"):
            self.student = CausalStudent(config).eval().to(torch.bfloat16)
        self.student.requires_grad_(False)
        settle_all(self.student, types)
        if pack:
            self.student.pack()
        rows, columns = self._size
        self.caches = [
            self.student.new_cache(preset.cache, height=rows, width=columns)
            for _ in range(preset.recipe.chunk_steps().caches)
        ]
        self._window = JointWindow()
        self._chunk = 0

    @property
    def calls(self) -> int:
        """How many calls the next chunk takes."""
        recipe = self.preset.recipe
        made = [step for step in recipe.step_of_call(self._chunk) if step is not None]
        return len(made) + (recipe.caching == "clean_pass")

    def context(self) -> TextContext:
        """What it attends to of a prompt."""
        return blank_context(self.student)

    def make_chunk(self, context: TextContext) -> None:
        """All calls of the next chunk, of one that takes as many as any."""
        recipe = self.preset.recipe
        if recipe.sampler == "joint":
            self._roll_window(context)
            self._chunk += 1
            return
        frames = recipe.chunk_frames
        latents = self._latents(frames)
        conditions = blank_conditions(self.student.config, frames, self._size, torch.bfloat16)
        sampler = recipe.sampler_for(self._chunk, drawn_like)
        memory: dict[str, Tensor] = {}
        if self._chunk == 0:
            self._give_sinks(context)
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

    def _roll_window(self, context: TextContext) -> None:
        """Until a block leaves it: the first one when the window has filled."""
        recipe, config, left = self.preset.recipe, self.student.config, None
        while left is None:
            seen = recipe.chunk_frames * (len(self._window.levels) + 1)
            left = roll_window(
                self.student,
                self.caches[0],
                self._window,
                self._latents(recipe.chunk_frames),
                recipe.timesteps(),
                context,
                blank_conditions(config, seen, self._size, torch.bfloat16),
                block_frames=recipe.chunk_frames,
                schedule=recipe.schedule(),
                renoise=drawn_like,
                context_timestep=recipe.context_timestep,
            )

    def _give_sinks(self, context: TextContext) -> None:
        """Of a student that refers to a picture: each cache has a sink of it."""
        stated = self.preset.stated(ReferenceImage)
        if stated is None:
            return
        motion = self._latents(1 + (stated.motion_frames - 1) // self.preset.latents.frames)
        for cache in self.caches:
            cache.set_sink(encode_sink(self.student, motion[:, :1], motion, context))

    def _latents(self, frames: int) -> Tensor:
        shape = (1, frames, self.student.config.in_channels, *self._size)
        return torch.empty(shape, dtype=torch.bfloat16, device="meta")


def drawn_like(x: Tensor) -> Tensor:
    """Noise like `x`."""
    return normal_noise(0, 0, x.shape, x.device, x.dtype)


def chunk_row(
    preset: Preset, capability: Capability, *, layers: int | None = None, types: NumberTypes = HALF
) -> dict[str, Any]:
    """The counts of a chunk of a stream whose window is full and has come round."""
    stream = MetaStream(preset, layers=layers, types=types)
    with counted(capability):
        context = stream.context()
        for _ in range(-(-preset.cache.capacity_frames // preset.recipe.chunk_frames) + 1):
            stream.make_chunk(context)
    calls = stream.calls
    with counted(capability) as count:
        stream.make_chunk(context)
    return {
        "preset": preset.name,
        "layers": len(stream.student.blocks),
        "calls": calls,
        "operations": count.operations,
        "operators": dict(count.operators.most_common()),
        "launches": dict(count.launches.most_common()),
        "pass_bytes": count.bytes,
        "blocking_uploads": count.uploads,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """A line for each preset."""
    parser = argparse.ArgumentParser(prog="chunk_operations", description="See the docstring.")
    parser.add_argument("--only", default="", help="presets, separated by commas")
    parser.add_argument("--layers", type=int, help="of each student, instead of all")
    parser.add_argument("--quantize", help="as of serve: fp8-dynamic")
    parser.add_argument("--attention", help="as of serve: int8")
    parser.add_argument("--out", type=Path, help="write the counts as JSON")
    plan = parser.parse_args(arguments)
    device = torch.device("cuda")
    types = NumberTypes.named("bf16", plan.quantize, device, attention=plan.attention)
    only = set(filter(None, plan.only.split(",")))
    if unknown := only - presets().keys():
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(presets())}")
    rows: list[dict[str, Any]] = []
    for preset in presets().values():
        if only and preset.name not in only:
            continue
        rows.append(row := chunk_row(preset, HOPPER, layers=plan.layers, types=types))
        sys.stdout.write(
            f"{row['preset']:28} {row['calls']} calls, {row['operations']:5} operations, of them "
            f"{sum(row['launches'].values()):4} launches of ours; {row['pass_bytes'] / 1e9:.1f} GB "
            f"in other passes, {row['blocking_uploads']} uploads that are waited for\n"
        )
    if plan.out:
        plan.out.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
