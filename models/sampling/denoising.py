"""Few-step denoising of one chunk after another (Self-Forcing, arXiv 2506.08009, Apache-2.0)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..student.causal_student import NO_CONDITIONS, CausalStudent
from ..student.conditioning import Conditions, TextContext
from ..student.student_cache import StudentCache
from .batches import CallRow, call_rows
from .flow_schedule import FlowSchedule
from .renoise import Renoise
from .sampler import NoiseSource, Sampler, SamplerMemory


@torch.no_grad()
def denoise_chunk(
    student: CausalStudent,
    caches: StudentCache | Sequence[StudentCache],
    noise: Tensor,
    steps: Sequence[float],
    context: TextContext,
    conditions: Conditions = NO_CONDITIONS,
    *,
    schedule: FlowSchedule,
    renoise: NoiseSource = torch.randn_like,
    context_timestep: float = 0.0,
) -> Tensor:
    """The next chunk's clean latents [B, F, C, h, w] from `noise` of that shape; advances `caches`.

    `steps` are warped timesteps, the first being that of `noise`. `renoise(x)` gives fresh noise
    like x between steps. The rest as in `sample_chunk`.
    """
    sampler = Renoise(schedule, steps, renoise)
    return sample_chunk(
        student, caches, noise, sampler, context, conditions, context_timestep=context_timestep
    )


@dataclass(frozen=True, slots=True)
class Expert:
    """Weights of their own for clean latents, and the text as they see it (SGF+).

    Its keys and values go to the same caches.
    """

    student: CausalStudent
    context: TextContext


@torch.no_grad()
def sample_chunk(
    student: CausalStudent,
    caches: StudentCache | Sequence[StudentCache],
    noise: Tensor,
    sampler: Sampler,
    context: TextContext,
    conditions: Conditions = NO_CONDITIONS,
    *,
    context_timestep: float = 0.0,
    expert: Expert | None = None,
    held: Tensor | None = None,
) -> Tensor:
    """The next chunk's clean latents [B, F, C, h, w] from `noise` of that shape; advances `caches`.

    With one cache a last pass at `context_timestep` writes the clean chunk's keys and values, by
    the `expert` if there is one. With one cache per step, call k of every chunk reads and writes
    cache k and there is no such pass (timestep-forced caches, Live Avatar, arXiv 2512.04677).
    `held` [B, n, C, h, w] are clean latents that the chunk begins with: they stand in the place of
    whatever a step makes of them, and the student is told that they are at time 0 (LongLive 2).
    """
    per_step = not isinstance(caches, StudentCache)
    times = sampler.timesteps
    stepped = list(caches) if per_step else [caches] * len(times)
    if len(stepped) != len(times) or not times:
        raise ValueError(f"{len(stepped)} caches for {len(times)} steps; expected one a step")
    memory: SamplerMemory = {}
    x = noise
    for step, cache in enumerate(stepped):
        row = CallRow(
            x, context, conditions, cache, sampler, step, memory, advances=per_step, held=held
        )
        (x,) = call_rows(student, [row])
    if not per_step:
        writer = Expert(student, context) if expert is None else expert
        clean = CallRow(x, writer.context, conditions, stepped[0], clean_timestep=context_timestep)
        call_rows(writer.student, [clean])
    return x


@torch.no_grad()
def prefill(
    student: CausalStudent,
    caches: StudentCache | Sequence[StudentCache],
    latents: Tensor,
    context: TextContext,
    conditions: Conditions = NO_CONDITIONS,
    *,
    chunk_frames: int,
    first_frames: int | None = None,
) -> None:
    """Put clean `latents` [B, F, C, h, w] at the start of a stream; nothing is emitted.

    They are passed at time 0 in chunks of `chunk_frames`, the first of `first_frames` if given.
    Raises ValueError if they do not divide so.
    """
    frames = latents.shape[1]
    first = chunk_frames if first_frames is None else first_frames
    if frames < first or (frames - first) % chunk_frames:
        raise ValueError(
            f"{frames} frames do not divide into a first chunk of {first} and then {chunk_frames}"
        )
    for cache in [caches] if isinstance(caches, StudentCache) else caches:
        start, length = 0, first
        while start < frames:
            chunk = latents[:, start : start + length]
            part = conditions.part(start, length, student.config.track_stride)
            student(chunk, _times(chunk, 0.0), context, cache, part)
            cache.advance(length)
            start, length = start + length, chunk_frames


@torch.no_grad()
def recache(
    student: CausalStudent,
    cache: StudentCache,
    latents: Tensor,
    context: TextContext,
    conditions: Conditions = NO_CONDITIONS,
    *,
    rewrite_sink: bool = False,
    context_timestep: float = 0.0,
) -> None:
    """Write the past anew under a new prompt (KV-recache of LongLive, arXiv 2509.22622).

    `latents` [B, F, C, h, w] are the last clean latents before the cache's position, as many as it
    holds. They attend to each other without a causal mask, as published. By the cache's
    `guard_sink` the sink stays; `rewrite_sink` writes it as well.
    """
    start = cache.position - latents.shape[1]
    student(
        latents,
        _times(latents, context_timestep),
        context,
        cache,
        conditions,
        start=start,
        rewrite_sink=rewrite_sink,
    )


def _times(latents: Tensor, timestep: float) -> Tensor:
    return torch.full(latents.shape[:2], timestep, dtype=torch.float32)
