"""Block-sparse attention with a mask over all scores: it has gradients, and takes small blocks.

Nothing is saved. Students are taught through it, and blocks too small to be worth gathering are
attended to so.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .block_list import BlockList
from .global_branch import GlobalBranch


def block_sparse_masked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: BlockList,
    *,
    rest: GlobalBranch | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention [B, H, N, D] as `block_sparse.block_sparse`, of rows that name a block each.

    Gradients go to queries, keys and values, also by the means of `rest`, and not through the
    choice of blocks. Raises ValueError for a list of other blocks.
    """
    blocks.check(query, key)
    queries, keys = query.shape[2], key.shape[2]
    of_rows = blocks.mask.repeat_interleave(blocks.query_block, dim=2)[:, :, :queries]
    listed = of_rows.repeat_interleave(blocks.key_block, dim=3)[..., :keys]
    bias = torch.where(listed, 0.0, float("-inf"))
    if rest is not None:
        of_means = rest.bias.repeat_interleave(blocks.query_block, dim=2)[:, :, :queries]
        bias = torch.cat((bias, of_means), dim=3)
        key = torch.cat((key, rest.key), dim=2)
        value = torch.cat((value, rest.value), dim=2)
    group = query.shape[1] // key.shape[1]
    if group > 1:
        key, value = (x.repeat_interleave(group, dim=1) for x in (key, value))
    factor = query.shape[3] ** -0.5 if scale is None else scale
    scores = ((query * factor) @ key.mT).float() + bias
    return scores.softmax(-1).to(value.dtype) @ value
