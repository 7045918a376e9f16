"""Definitions in float64: of block-sparse attention, and of the choice of blocks by means."""

from __future__ import annotations

import torch
from torch import Tensor

from .block_list import BlockList
from .block_select import most_blocks, select_energy, select_top_k
from .global_branch import GlobalBranch
from .sparse_policy import SparsePolicy


def choose_blocks_ref(
    query: Tensor, key: Tensor, policy: SparsePolicy, *, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """The table of bools [B, H, query blocks, key blocks] that `policy` wants, and the scores.

    `query` [B, H, N, D], `key` [B, Hkv, M, D]; for a policy that scores by means. Of equal scores
    the earlier block comes first.
    """
    factor = float(query.shape[-1]) ** -0.5 if scale is None else scale
    group = query.shape[1] // key.shape[1]
    of_queries = [part.double().mean(2) for part in query.split(policy.query_block, dim=2)]
    parts = key.split(policy.key_block, dim=2)
    of_keys = torch.stack([part.double().mean(2) for part in parts], dim=2)
    counts = torch.tensor([part.shape[2] for part in parts], device=key.device)
    logits = torch.stack(of_queries, dim=2) @ of_keys.repeat_interleave(group, dim=1).mT * factor
    scores = torch.softmax(logits + counts.double().log(), dim=-1)
    if policy.kind == "top_k":
        return select_top_k(scores, most_blocks(len(parts), policy.max_density)), scores
    densities = {"min_density": policy.min_density, "max_density": policy.max_density}
    return select_energy(scores, policy.energy, **densities), scores


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
    rows = zip(blocks.starts.tolist(), blocks.ends.tolist(), strict=True)
    per_head = blocks.mask.shape[2]
    for row, (first, end) in enumerate(rows):
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
