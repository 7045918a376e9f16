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
    # Of each row: where its list starts, how many blocks are whole, which head's keys it reads.
    starts = blocks.offsets[:-1].long()
    named = blocks.offsets.diff()
    ends = blocks.mask[..., -1].flatten().int() if short else torch.zeros_like(named)
    own = _own_heads(rows.shape[0], batch, heads, key.shape[1]).to(query.device)
    # Rows alike lie side by side; often they do so already.
    kinds, order = (2 * (named - ends) + ends).sort(stable=True)
    mixed_up = not torch.equal(order, torch.arange(len(order), device=order.device))
    if mixed_up:
        rows, starts, own = rows[order], starts[order], own[order]
    out = rows.new_zeros(rows.shape)
    lse = rows.new_full(rows.shape[:2], -torch.inf, dtype=torch.float32)
    sources = [(x, _by_block(x, blocks.key_block)) for x in (key, value)]
    first = 0
    for kind, count in zip(
        *(x.tolist() for x in kinds.unique_consecutive(return_counts=True)), strict=True
    ):
        members = slice(first, first + count)
        first += count
        whole, with_short = divmod(kind, 2)
        if not kind:
            continue
        length = whole * blocks.key_block + with_short * short
        at_once = max(1, _GATHERED_BYTES // (2 * length * dim * key.element_size()))
        listed = starts[members, None] + torch.arange(whole, device=key.device)
        place = own[members, None] * (key.shape[2] // blocks.key_block) + blocks.blocks[listed]
        # The same memory for every part: what was just freed would have to be mapped anew.
        room = [x.new_empty(min(at_once, count) * whole, x.shape[1]) for _, x in sources]
        for start in range(0, count, at_once):
            some = slice(members.start + start, members.start + min(start + at_once, count))
            wanted = place[start : start + at_once].flatten()
            gathered: list[Tensor] = []
            for (full, stored), kept in zip(sources, room, strict=True):
                part = kept[: len(wanted)]
                torch.index_select(stored, 0, wanted, out=part)
                part = part.view(some.stop - some.start, -1, dim)
                if with_short:
                    last = full[:, :, full.shape[2] - short :].flatten(0, 1)[own[some]]
                    part = torch.cat((part, last), dim=1)
                gathered.append(part)
            out[some], lse[some] = _attend(rows[some], gathered[0], gathered[1], scale)
    if mixed_up:
        back = order.argsort()
        out, lse = out[back], lse[back]
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
