"""Rolling Forcing's sampler (arXiv 2509.25161): blocks of several noise levels denoised together.

The window holds as many blocks as there are steps, the oldest the cleanest. One call of the student
takes all of them one level down, the oldest leaves, one of pure noise enters. Only the oldest
block's clean keys and values are cached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..student.causal_student import NO_CONDITIONS, CausalStudent
from ..student.conditioning import Conditions, TextContext
from ..student.student_cache import StudentCache
from .batches import CallRow, call_rows
from .flow_schedule import FlowSchedule
from .sampler import NoiseSource


@dataclass(slots=True)
class JointWindow:
    """The blocks of a stream that are under way: part of its state.

    `latents` [B, F, C, h, w] are ready for the next call, oldest block first; None: there are none.
    `levels` says for each block which step its next call is.
    """

    latents: Tensor | None = None
    levels: tuple[int, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to save."""
        return {} if self.latents is None else {"latents": self.latents}

    def metadata(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        return {"levels": list(self.levels)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> JointWindow:
        """The window that `tensors` and `metadata` were saved from."""
        return cls(tensors.get("latents"), tuple(int(level) for level in metadata["levels"]))


@torch.no_grad()
def roll_window(
    student: CausalStudent,
    cache: StudentCache,
    window: JointWindow,
    noise: Tensor | None,
    steps: Sequence[float],
    context: TextContext,
    conditions: Conditions = NO_CONDITIONS,
    *,
    block_frames: int,
    schedule: FlowSchedule,
    renoise: NoiseSource = torch.randn_like,
    context_timestep: float = 0.0,
) -> Tensor | None:
    """Take `window` one step on; the clean block [B, block_frames, C, h, w] that leaves it, if any.

    `noise` of that shape is the new block, None at the end of a stream, whose window shrinks.
    `steps` are warped timesteps, from noise on; the first block leaves at the call len(steps).
    `conditions` are those of all frames of the window. `cache` needs `CacheConfig.reach_frames` and
    advances with the block that leaves. For each block that stays `renoise` is asked for noise like
    the whole window, as published, of which it takes its own part. Raises ValueError for an empty
    window, and for noise of another length.
    """
    oldest = step_window(
        student,
        cache,
        window,
        noise,
        steps,
        context,
        conditions,
        block_frames=block_frames,
        schedule=schedule,
        renoise=lambda clean, part: renoise(clean)[:, part],
    )
    clean_pass = CallRow(
        oldest.latents,
        context,
        conditions.part(0, block_frames, student.config.track_stride),
        cache,
        clean_timestep=context_timestep,
        advances=oldest.leaves,
    )
    call_rows(student, [clean_pass])
    return oldest.latents if oldest.leaves else None


@dataclass(frozen=True, slots=True)
class OldestBlock:
    """What a window's oldest block is thought to be, [B, F, C, h, w]; `leaves`: it is clean."""

    latents: Tensor
    leaves: bool


@torch.no_grad()
def step_window(
    student: CausalStudent,
    cache: StudentCache,
    window: JointWindow,
    noise: Tensor | None,
    steps: Sequence[float],
    context: TextContext,
    conditions: Conditions = NO_CONDITIONS,
    *,
    block_frames: int,
    schedule: FlowSchedule,
    renoise: Callable[[Tensor, slice], Tensor],
) -> OldestBlock:
    """`roll_window` without its clean pass, which is due at least for a block that leaves.

    `renoise(x, part)` gives fresh noise like x[:, part].
    """
    if noise is not None and noise.shape[1] != block_frames:
        raise ValueError(f"noise of {noise.shape[1]} frames for a block of {block_frames}")
    blocks = [part for part in (window.latents, noise) if part is not None]
    if not blocks:
        raise ValueError("the window is empty and no noise came; expected either")
    latents = torch.cat(blocks, dim=1)
    levels = window.levels + ((0,) if noise is not None else ())
    parts = [
        slice(first, end) for first, end in pairwise(range(0, latents.shape[1] + 1, block_frames))
    ]
    times = torch.tensor([steps[level] for level in levels])
    times = times.repeat_interleave(block_frames).expand(latents.shape[0], -1)
    prediction = student(latents, times, context, cache, conditions, store=False)
    kind = student.config.prediction
    clean = torch.cat(
        [
            schedule.to_sample(prediction[:, part], latents[:, part], steps[level], kind)
            for part, level in zip(parts, levels, strict=True)
        ],
        dim=1,
    )
    last = len(steps) - 1
    stay = [
        schedule.add_noise(clean[:, part], renoise(clean, part), steps[level + 1])
        for part, level in zip(parts, levels, strict=True)
        if level < last
    ]
    window.latents = torch.cat(stay, dim=1) if stay else None
    window.levels = tuple(level + 1 for level in levels if level < last)
    return OldestBlock(clean[:, :block_frames], levels[0] == last)
