"""Golden cases of StreamDiffusionV2: redrawn video, a cache a step, an adaptive sink."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..sampling.batches import CallRow, call_rows
from ..sampling.recipe import Recipe
from ..student.causal_student import NO_CONDITIONS, CausalStudent
from ..student.conditioning import TextContext
from ..student.config import CacheConfig, StudentConfig
from ..student.student_cache import StudentCache
from ..wan.video_frames import noise_share, told_timestep
from .published import (
    EXACT,
    check_shape,
    difference,
    golden_student,
    recipe_of,
    wan_shape,
    weights_of,
)

_FRAMES = 4


def stream_diffusion_differences(
    case: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[float, ...]:
    """Greatest absolute difference of each chunk's latents, then of noise, timesteps and caches.

    The frames' shares of noise, what the student is told of time in a chunk's first step, and the
    first layer's keys and values of every step's cache. Raises ValueError on other shapes.
    """
    recipe = stream_diffusion_recipe(case)
    config = StudentConfig(**wan_shape(case["config"], patch="patch_size"))
    student = golden_student(config, weights_of(tensors), EXACT)
    context = student.encode_text(tensors["in/prompt_embeds"])
    expected = tensors["out/latents"]
    height, width = expected.shape[3:]
    caches = [
        student.new_cache(stream_diffusion_cache(case), height=height, width=width)
        for _ in recipe.steps
    ]
    shares, told = _noise(case, recipe, tensors)
    made: list[Tensor] = []
    for chunk, frames in enumerate(recipe.chunks(expected.shape[1])):
        given, noise = tensors["in/latents"][:, frames], tensors["in/noise"][:, frames]
        renoise = [tensors[f"in/renoise/{k}"][:, frames] for k in range(len(caches) - 1)]
        begin = shares[chunk] * noise + (1 - shares[chunk]) * given
        made.append(_chunk(student, caches, recipe, begin, renoise, context, chunk, told[chunk]))
    check_shape(torch.cat(made, dim=1), expected)
    every = zip(made, recipe.chunks(expected.shape[1]), strict=True)
    differences = [difference(latents, expected[:, frames]) for latents, frames in every]
    differences.append(difference(torch.tensor(shares).double(), tensors["out/shares"]))
    differences.append(difference(torch.tensor(told), tensors["out/told"]))
    for row, cache in enumerate(caches):
        for name, kept in (("k", cache.layers[0].key), ("v", cache.layers[0].value)):
            # slots are where the published code has them
            differences.append(difference(kept.transpose(1, 2), tensors[f"out/row{row}/{name}0"]))
    return tuple(differences)


def _noise(
    case: dict[str, Any], recipe: Recipe, tensors: dict[str, Tensor]
) -> tuple[list[float], list[float]]:
    """Each chunk's share of noise, and what the student is told of time in its first step."""
    video, base = tensors["in/video"].float() / 127.5 - 1.0, float(case["noise_scale"])
    shares, told = [base], [recipe.timesteps()[0]]
    seen = _FRAMES * int(case["first_frames"]) - (_FRAMES - 1)
    while seen < len(video):
        frames = video[seen - 1 : seen + _FRAMES * recipe.chunk_frames]
        shares.append(noise_share(frames, shares[-1], base))
        told.append(told_timestep(shares[-1]))
        seen += _FRAMES * recipe.chunk_frames
    return shares, told


def _chunk(
    student: CausalStudent,
    caches: list[StudentCache],
    recipe: Recipe,
    begin: Tensor,
    renoise: list[Tensor],
    context: TextContext,
    chunk: int,
    told: float,
) -> Tensor:
    """A chunk's clean latents [1, F, C, h, w], each step on its own cache."""
    latents, settles = begin, recipe.settles_first and chunk == 0
    for step, cache in enumerate(caches):
        coming = iter(renoise[step:])
        sampler = recipe.sampler_for(chunk, lambda _, coming=coming: next(coming), told)
        row = CallRow(latents, context, NO_CONDITIONS, cache, sampler, step, settles=settles)
        (latents,) = call_rows(student, [row])
    return latents


def stream_diffusion_recipe(case: dict[str, Any]) -> Recipe:
    """How a case's chunks are sampled."""
    return recipe_of(
        case,
        chunk_frames=1,
        first_frames=int(case["first_frames"]),
        caching="each_step",
        settles_first=True,
    )


def stream_diffusion_cache(case: dict[str, Any]) -> CacheConfig:
    """The cache of a case."""
    sinks = int(case["num_sink_tokens"])
    return CacheConfig(
        window_frames=int(case["num_kv_cache"]) - sinks,
        sink_frames=sinks,
        refresh_below=float(case["adapt_sink_threshold"]),
        rewind_at=int(case["t_refresh"]),
    )
