"""The definition of block-sparse attention in float64: keys that are not listed score -inf."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from .block_list import BlockList
from .global_branch import GlobalBranch


def block_sparse_ref(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: BlockList,
    *,
    rest: GlobalBranch | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """As `block_sparse.block_sparse`; both results are float64. Reads the list, not its mask."""
    heads, queries = query.shape[1:3]
    group = heads // key.shape[1]
    factor = float(query.shape[-1]) ** -0.5 if scale is None else scale

    def wide(x: Tensor) -> Tensor:
        return x.double().repeat_interleave(group, dim=1)

    scores = query.double() @ wide(key).transpose(-1, -2) * factor
    listed = torch.zeros_like(scores, dtype=torch.bool).flatten(0, 1)
    offsets, per_head = blocks.offsets.tolist(), blocks.mask.shape[2]
    for row, (first, end) in enumerate(pairwise(offsets)):
        start = row % per_head * blocks.query_block
        for block in blocks.blocks[first:end].tolist():
            keys = slice(block * blocks.key_block, (block + 1) * blocks.key_block)
            listed[row // per_head, start : start + blocks.query_block, keys] = True
    scores = scores.masked_fill(~listed.view_as(scores), -torch.inf)
    values = wide(value)
    if rest is not None:
        of_means = query.double() @ wide(rest.key).transpose(-1, -2) * factor
        bias = rest.bias.double().repeat_interleave(blocks.query_block, dim=2)[:, :, :queries]
        scores = torch.cat((scores, of_means + bias), dim=-1)
        values = torch.cat((values, wide(rest.value)), dim=2)
    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - torch.where(lse.isinf(), 0.0, lse)[..., None])
    return weights @ values, lse
