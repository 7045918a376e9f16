"""Golden cases of Rolling Forcing: a joint window of noise levels, and an anchor of raw keys."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..sampling.chunk_maker import ChunkMaker, ChunkStream
from ..sampling.recipe import Recipe
from ..student.config import CacheConfig, StudentConfig
from ..student.student_cache import StudentCache
from ..wan.number_types import NumberTypes
from .published import (
    EXACT,
    check_shape,
    difference,
    golden_student,
    recipe_of,
    recorded_noise,
    wan_shape,
    weights_of,
)


def rolling_differences(
    case: dict[str, Any], tensors: dict[str, Tensor], types: NumberTypes = EXACT
) -> tuple[float, ...]:
    """Greatest absolute difference of each block's latents, then of the first layer's cache.

    The latter where the case has it. Raises ValueError on other shapes.
    """
    recipe = rolling_recipe(case)
    config = StudentConfig(**wan_shape(case["config"], patch="patch_size"))
    student = golden_student(config, weights_of(tensors), types)
    noise, expected = tensors["in/noise"], tensors["out/latents"]
    maker = ChunkMaker(student, recipe, rolling_cache(case))
    batch, _, _, height, width = noise.shape
    stream = maker.start(height=height, width=width, batch=batch)
    made, cache = _generate(maker, stream, tensors), stream.cache
    check_shape(made, expected)
    chunks = recipe.chunks(noise.shape[1])
    differences = [difference(made[:, chunk], expected[:, chunk]) for chunk in chunks]
    layer = cache.layers[0]
    assert layer.raw_sink is not None
    # as published: the sink before RoPE, the others behind it
    key = torch.cat((layer.raw_sink, layer.key[:, :, layer.raw_sink.shape[2] :]), dim=2)
    for name, kept in (("k", key), ("v", layer.value)):
        if f"out/kv0/{name}" in tensors:
            recorded = tensors[f"out/kv0/{name}"].transpose(1, 2)
            in_time = _in_time(cache, kept)
            differences.append(difference(in_time, recorded[:, :, : in_time.shape[2]]))
    return tuple(differences)


def _generate(maker: ChunkMaker, stream: ChunkStream, tensors: dict[str, Tensor]) -> Tensor:
    """All latents [B, F, C, h, w]."""
    prompt = maker.encode(tensors["in/prompt_embeds"])
    noise, renoise = tensors["in/noise"], recorded_noise(tensors)
    fresh = [noise[:, chunk] for chunk in maker.recipe.chunks(noise.shape[1])]
    wanted, made = len(fresh), list[Tensor]()
    while len(made) < wanted:
        block = maker.next(stream, fresh.pop(0) if fresh else None, prompt, renoise=renoise)
        made += [] if block is None else [block]
    return torch.cat(made, dim=1)


def _in_time(cache: StudentCache, kept: Tensor) -> Tensor:
    """The tokens of all live frames of a layer, oldest first."""
    frames = kept.unflatten(2, (-1, cache.layers[0].tokens_per_frame))
    return frames[:, :, list(cache.slots_in_time)].flatten(2, 3)


def rolling_recipe(case: dict[str, Any]) -> Recipe:
    """How a case's blocks are sampled."""
    return recipe_of(case, chunk_frames=int(case["num_frame_per_block"]), sampler="joint")


def rolling_cache(case: dict[str, Any]) -> CacheConfig:
    """The cache of a case; its anchor is the sink."""
    anchor, capacity = int(case["anchor_frames"]), int(case["cache_frames"])
    return CacheConfig(
        window_frames=capacity - anchor,
        sink_frames=anchor,
        bounded_sink=True,
        reach_frames=int(case["max_attention_frames"]),
    )
