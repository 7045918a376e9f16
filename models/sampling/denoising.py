"""Few-step denoising of one chunk after another (Self-Forcing, arXiv 2506.08009, Apache-2.0).

Flow matching: x_t = (1 - sigma) * x0 + sigma * noise, velocity = noise - x0, time t in 0..1000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..student.causal_student import NO_CONDITIONS, CausalStudent
from ..student.conditioning import Conditions, TextContext
from ..student.config import Prediction
from ..student.kv_cache import StudentCache

NoiseSource = Callable[[Tensor], Tensor]


class FlowSchedule:
    """The published table of `entries` timesteps with its `shift`.

    Sigma of a timestep is that of the nearest entry, never timestep / 1000: warped timesteps are
    not integers.
    """

    def __init__(self, shift: float = 5.0, entries: int = 1000) -> None:
        line = torch.linspace(1.0, 0.0, entries + 1)[:-1]
        self.sigmas = shift * line / (1 + (shift - 1) * line)
        self.timesteps = self.sigmas * entries

    def sigma(self, timestep: float) -> float:
        """Share of noise at `timestep`."""
        return float(self.sigmas[(self.timesteps - timestep).abs().argmin()])

    def warp(self, steps: Sequence[int]) -> tuple[float, ...]:
        """Timesteps of an unwarped step list such as (1000, 750, 500, 250); step 0 is 0."""
        entries = len(self.timesteps)
        for step in steps:
            if not 0 <= step <= entries:
                raise ValueError(f"step {step} is outside 0..{entries}")
        return tuple(float(self.timesteps[entries - step]) if step else 0.0 for step in steps)

    def add_noise(self, sample: Tensor, noise: Tensor, timestep: float) -> Tensor:
        """`sample` at `timestep`, in its dtype."""
        sigma = self.sigma(timestep)
        return ((1 - sigma) * sample + sigma * noise).to(sample.dtype)

    def to_sample(
        self, prediction: Tensor, noisy: Tensor, timestep: float, kind: Prediction
    ) -> Tensor:
        """x0 of a student's prediction for `noisy` at `timestep`; velocities in float64 inside."""
        if kind == "sample":
            return prediction
        return (noisy.double() - self.sigma(timestep) * prediction.double()).to(noisy.dtype)


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
    like x between steps. With one cache a last pass at `context_timestep` writes the clean chunk's
    keys and values. With one cache per step, call k of every chunk reads and writes cache k and
    there is no such pass (timestep-forced caches, Live Avatar, arXiv 2512.04677).
    """
    per_step = not isinstance(caches, StudentCache)
    stepped = list(caches) if per_step else [caches] * len(steps)
    if len(stepped) != len(steps) or not steps:
        raise ValueError(f"{len(stepped)} caches for {len(steps)} steps; expected one a step")
    sample = x = noise
    for index, (timestep, cache) in enumerate(zip(steps, stepped, strict=True)):
        if index:
            x = schedule.add_noise(sample, renoise(sample), timestep)
        prediction = student(x, _times(x, timestep), context, cache, conditions)
        sample = schedule.to_sample(prediction, x, timestep, student.config.prediction)
    frames = noise.shape[1]
    if not per_step:
        student(sample, _times(sample, context_timestep), context, stepped[0], conditions)
    for cache in stepped if per_step else stepped[:1]:
        cache.advance(frames)
    return sample


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
    return torch.full(latents.shape[:2], timestep, dtype=torch.float32, device=latents.device)
