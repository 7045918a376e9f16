"""The blocks of keys that a policy wants for these queries and keys."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .block_list import BlockList, blocks_of
from .block_scores import pooled_scores, sampled_scores
from .block_select import (
    block_boxes,
    most_blocks,
    select_energy,
    select_sliding_tiles,
    select_top_k,
)
from .sparse_policy import SparsePolicy


@dataclass(frozen=True, slots=True)
class TokenPlaces:
    """Frame, row and column of queries [N, 3] and of keys [M, 3], as they lie in memory.

    The first `sinks` keys are the sink's.
    """

    queries: Tensor
    keys: Tensor
    sinks: int = 0


def choose_blocks(
    query: Tensor,
    key: Tensor,
    policy: SparsePolicy,
    *,
    scale: float | None = None,
    near: Tensor | None = None,
) -> BlockList:
    """The blocks that `policy` wants for `query` [B, H, N, D] and `key` [B, Hkv, M, D].

    `near` [query blocks, key blocks] is `sliding_tiles` of that policy. Nothing is asked of the
    device. Raises ValueError for sliding tiles without it.
    """
    sizes = (policy.query_block, policy.key_block)
    count = blocks_of(key.shape[2], policy.key_block)
    most = most_blocks(count, policy.max_density)
    if policy.kind == "sliding_tiles":
        if near is None:
            raise ValueError("sliding tiles choose by place; give near, of sliding_tiles")
        mask = near.expand(*query.shape[:2], *near.shape).contiguous()
        return BlockList.from_mask(mask, *sizes)
    if policy.samples:
        scores = sampled_scores(query, key, *sizes, scale, samples=policy.samples, seed=policy.seed)
    else:
        scores = pooled_scores(query, key, *sizes, scale)
    if policy.kind == "top_k":
        mask = select_top_k(scores, most)
    else:
        mask = select_energy(
            scores, policy.energy, min_density=policy.min_density, max_density=policy.max_density
        )
    return BlockList.from_mask(mask, *sizes, most=most)


def sliding_tiles(policy: SparsePolicy, places: TokenPlaces) -> Tensor:
    """The table [query blocks, key blocks] of `policy` with kind "sliding_tiles"."""
    near = select_sliding_tiles(
        block_boxes(places.queries, policy.query_block),
        block_boxes(places.keys, policy.key_block),
        policy.reach,
    )
    sink_blocks = blocks_of(places.sinks, policy.key_block)
    of_sink = torch.arange(near.shape[1], device=near.device) < sink_blocks
    return near | of_sink
