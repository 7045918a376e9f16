"""Block-sparse attention in plain torch: gathers the blocks of each row and attends to those.

What a CPU runs. Rows with equally many blocks make one batch, in parts small enough that what was
gathered is still in the cache of the CPU when it is used; on a large grid that is a row at a time.
A mask would be simpler and no faster than attention to everything. Numbers of blocks are read on
the host, which on a GPU waits for it: there it is only for machines without Triton.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .block_list import BlockList
from .global_branch import GlobalBranch

# Of keys and values gathered at a time; about what a core has of the caches.
_GATHERED_BYTES = 4 << 20


def block_sparse_torch(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: BlockList,
    *,
    rest: GlobalBranch | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """As `block_sparse.block_sparse`."""
    blocks.check(query, key)
    batch, heads, queries, dim = query.shape
    size, short = blocks.query_block, key.shape[2] % blocks.key_block
    rows = F.pad(query, (0, 0, 0, -queries % size)) if queries % size else query
    rows = rows.reshape(-1, size, dim)
    out = rows.new_zeros(rows.shape)
    lse = rows.new_full(rows.shape[:2], -torch.inf, dtype=torch.float32)
    whole_keys, whole_values = (_by_block(x, blocks.key_block) for x in (key, value))
    # Of each row: where its list starts, how many blocks are whole, which head's keys it reads.
    starts = blocks.offsets[:-1].long()
    named = blocks.offsets.diff()
    ends = blocks.mask[..., -1].flatten() if short else torch.zeros_like(named)
    own = _own_heads(rows.shape[0], batch, heads, key.shape[1]).to(query.device)
    kinds = 2 * (named - ends.int()) + ends.int()
    for kind in sorted(set(kinds.tolist()) - {0}):
        whole, with_short = divmod(kind, 2)
        length = whole * blocks.key_block + with_short * short
        at_once = max(1, _GATHERED_BYTES // (2 * length * dim * key.element_size()))
        for some in (kinds == kind).nonzero()[:, 0].split(at_once):
            listed = starts[some, None] + torch.arange(whole, device=key.device)
            place = own[some, None] * (key.shape[2] // blocks.key_block) + blocks.blocks[listed]
            gathered: list[Tensor] = []
            for stored, full in ((whole_keys, key), (whole_values, value)):
                part = stored.index_select(0, place.flatten()).view(len(some), -1, dim)
                if with_short:
                    last = full[:, :, full.shape[2] - short :].flatten(0, 1)[own[some]]
                    part = torch.cat((part, last), dim=1)
                gathered.append(part)
            made, sums = _attend(rows.index_select(0, some), gathered[0], gathered[1], scale)
            out.index_copy_(0, some, made)
            lse.index_copy_(0, some, sums)
    mixed = out.view(batch, heads, -1, dim)[:, :, :queries]
    sums = lse.view(batch, heads, -1)[:, :, :queries]
    if rest is None:
        return mixed, sums
    return merge(mixed, sums, *_attend_means(query, rest, size, scale))


def merge(out: Tensor, lse: Tensor, other: Tensor, other_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Attention to two sets of keys from the attention [..., N, D] and log-sum-exp of each."""
    both = torch.logaddexp(lse, other_lse)
    # Without any key both are -inf, and so is their sum.
    top = torch.where(both.isinf(), 0.0, both)
    mixed = out * (lse - top).exp()[..., None] + other * (other_lse - top).exp()[..., None]
    return mixed.to(out.dtype), both


def _by_block(x: Tensor, block: int) -> Tensor:
    """The whole blocks of all heads as rows, [B * Hkv * blocks, block * D]."""
    whole = x.shape[2] // block * block
    return x[:, :, :whole].reshape(-1, block * x.shape[3])


def _own_heads(rows: int, batch: int, heads: int, shared: int) -> Tensor:
    """Which of the B * Hkv heads of keys each of the list's rows reads."""
    head = torch.arange(batch * heads).view(batch, heads)
    group = heads // shared
    own = head // heads * shared + head % heads // group
    return own.flatten().repeat_interleave(rows // (batch * heads))


def _attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None
) -> tuple[Tensor, Tensor]:
    """[R, N, D] to [R, M, D] each, and the log-sum-exp [R, N]."""
    if query.device.type == "cpu":
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, lse = fused(query[None], key[None], value[None], scale=scale)
        return out[0], lse[0]
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query @ key.transpose(1, 2)).float() * factor
    return scores.softmax(-1).to(value.dtype) @ value, scores.logsumexp(-1)


def _attend_means(
    query: Tensor, rest: GlobalBranch, query_block: int, scale: float | None
) -> tuple[Tensor, Tensor]:
    heads, queries = query.shape[1:3]
    group = heads // rest.key.shape[1]
    keys, values = (
        x if group == 1 else x.repeat_interleave(group, dim=1) for x in (rest.key, rest.value)
    )
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    bias = rest.bias.repeat_interleave(query_block, dim=2)[:, :, :queries]
    scores = (query @ keys.transpose(-1, -2)).float() * factor + bias
    lse = scores.logsumexp(-1)
    weights = (scores - torch.where(lse.isinf(), 0.0, lse)[..., None]).exp()
    return weights.to(values.dtype) @ values, lse
