"""Compile cases of what presets launch with options that are off by default.

A thin window, 8-bit attention, float8 products: each preset that can have them streams with them on
`meta`, as it does without in `preset_cases`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import torch

from ...kernels.block_sparse.sparse_policy import SparsePolicy
from ...kernels.gpu import Capability
from ...kernels.launch import Launch
from ...models.wan.number_types import NumberTypes
from ...models.wan.presets.preset import Preset
from .chunk_operations import MetaStream
from .compile_case import CompileCase
from .operation_count import counted
from .preset_cases import FIRST_CHUNKS, cases_by_target, different_presets

_LAYERS = 2
IN_8_BITS = NumberTypes(torch.bfloat16, "fp8-dynamic", "int8")
OLDER = NumberTypes(torch.bfloat16, attention="int8")
"""For GPUs without products of float8."""
POLICIES = (
    SparsePolicy(),
    SparsePolicy("top_k", 128, 128, global_branch=False),
)


def option_launches(preset: Preset, capability: Capability) -> list[Launch]:
    """All that streams of `preset` with each option launch, on a GPU of that capability."""
    found: list[Launch] = []
    for stream in _streams(preset, capability):
        with counted(capability) as count:
            context = stream.context()
            for _ in range(FIRST_CHUNKS):
                stream.make_chunk(context)
        found += count.seen
    return found


@cache
def option_cases() -> tuple[CompileCase, ...]:
    """A case of each variant, for the targets on which a preset would launch it."""
    # how a chunk is sampled changes nothing here
    shapes = {(each.student, each.cache, each.size): each for each in different_presets()}
    return cases_by_target(option_launches, list(shapes.values()))


def can_be_thin(preset: Preset) -> bool:
    """Whether its window can be; an avatar's sink and one that follows the picture cannot."""
    cache = preset.cache
    return (cache.rolling_distance, cache.refresh_below, cache.reach_frames) == (None, None, None)


def _streams(preset: Preset, capability: Capability) -> Iterator[MetaStream]:
    types = IN_8_BITS if capability >= (8, 9) else OLDER
    yield MetaStream(preset, layers=_LAYERS, types=types)
    for policy in POLICIES if can_be_thin(preset) else ():
        thin = replace(preset, cache=replace(preset.cache, sparse=policy))
        yield MetaStream(thin, layers=_LAYERS)
