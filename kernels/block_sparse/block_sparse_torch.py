"""Block-sparse attention in plain torch: gathers the blocks of each row and attends to those.

What a CPU runs. Rows with equally many blocks make one batch, in parts small enough that what was
gathered is still in the cache of the CPU when it is used; on a large grid that is a row at a time.
A mask would be simpler and no faster than attention to everything. The list is read on the host:
on small grids dozens of small operations on tensors would take a sixth of the time. On a GPU that
waits for the device: there it is only for machines without Triton.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, repeat
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .block_list import BlockList
from .block_source import BlockSource
from .global_branch import GlobalBranch

# Of gathered keys and their scores at a time; about half of what a core has of the caches, which
# also hold the keys and values of the head, for the next row to gather from.
PART_BYTES = 1 << 20


def block_sparse_torch(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: BlockList,
    *,
    rest: GlobalBranch | None = None,
    scale: float | None = None,
    part_bytes: int = PART_BYTES,
) -> tuple[Tensor, Tensor]:
    """As `block_sparse.block_sparse`; `part_bytes` of keys and scores are gathered at a time."""
    blocks.check(query, key)
    batch, heads, queries, dim = query.shape
    size, block = blocks.query_block, blocks.key_block
    rows = F.pad(query, (0, 0, 0, -queries % size)) if queries % size else query
    rows = rows.reshape(-1, size, dim)
    factor = dim**-0.5 if scale is None else scale
    # Of each row: where its list starts, how many of its blocks are whole and whether the short one
    # follows them, which head's keys it reads.
    starts, ends = blocks.starts.tolist(), blocks.ends.tolist()
    listed = blocks.blocks.tolist()
    kinds = _kinds(blocks, starts, ends, short=key.shape[2] % block > 0)
    own = _own_heads(len(kinds), batch, heads, key.shape[1])
    # Rows alike lie side by side; often they do so already.
    order = sorted(range(len(kinds)), key=kinds.__getitem__)
    mixed_up = order != list(range(len(kinds)))
    if mixed_up:
        rows = rows[order]
    out = rows.new_empty(rows.shape)
    lse = rows.new_empty(rows.shape[:2], dtype=torch.float32)
    keys, values = (BlockSource.of(x, block) for x in (key, value))
    per_head = key.shape[2] // block
    attend = _attend_products if rows.dtype == torch.float32 else _attend_fused
    first = 0
    for (whole, with_short), group in groupby(order, key=kinds.__getitem__):
        members = list(group)
        these = slice(first, first + len(members))
        first = these.stop
        if not whole and not with_short:
            out[these], lse[these] = 0.0, -torch.inf
            continue
        wanted = [
            own[row] * per_head + listed[place]
            for row in members
            for place in range(starts[row], starts[row] + whole)
        ]
        asked = _Rows(
            rows[these],
            torch.tensor(wanted, device=rows.device, dtype=torch.int64).view(len(members), whole),
            torch.tensor([own[row] for row in members], device=rows.device) if with_short else None,
            whole * block + with_short * (key.shape[2] % block),
            part_bytes,
        )
        attend(asked, keys, values, factor, out[these], lse[these])
    if mixed_up:
        back = torch.tensor(order, device=rows.device).argsort()
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


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of queries [R, N, D] that name equally many whole blocks, [R, n], `keys` keys in all.

    `ends` [R] are the heads whose short blocks they name as well; None if they name none.
    `part_bytes` of gathered keys and their scores are to lie in memory at a time.
    """

    query: Tensor
    blocks: Tensor
    ends: Tensor | None
    keys: int
    part_bytes: int

    def at_once(self) -> int:
        """How many rows fit into `part_bytes`."""
        count, size, dim = self.query.shape
        row = self.keys * (size + dim) * self.query.element_size()
        return min(count, max(1, self.part_bytes // row))

    def parts(self, *beside: Tensor) -> Iterator[tuple[Any, ...]]:
        """Of `at_once` rows at a time blocks, ends, and what `beside` [R, ...] has of them."""
        step = self.at_once()
        ends = repeat(None) if self.ends is None else self.ends.split(step)
        return zip(self.blocks.split(step), ends, *(x.split(step) for x in beside), strict=False)


def _attend_products(
    rows: _Rows, keys: BlockSource, values: BlockSource, factor: float, out: Tensor, lse: Tensor
) -> None:
    """Into `out` [R, N, D] and `lse` [R, N], by matrix products; all is float32.

    Scores lie as [keys, queries], so that keys are used as they lie. All parts use the same memory:
    what was just freed would have to be mapped anew.
    """
    rotated = (rows.query.mT * factor).contiguous()
    total = torch.empty_like(lse)
    weights = out.new_empty(rows.at_once(), rows.keys, out.shape[1])
    room = out.new_empty(len(weights) * rows.blocks.shape[1], keys.whole.shape[1])
    for blocks, ends, query, mixed, peak, weight in rows.parts(
        rotated, out, lse[:, None], total[:, None]
    ):
        if len(query) < len(weights):
            weights, room = weights[: len(query)], room[: blocks.numel()]
        torch.bmm(keys.gather(blocks, ends, room), query, out=weights)
        torch.amax(weights, 1, keepdim=True, out=peak)
        weights.sub_(peak).exp_()
        torch.sum(weights, 1, keepdim=True, out=weight)
        torch.bmm(weights.mT, values.gather(blocks, ends, room), out=mixed)
    out.div_(total[..., None])
    lse.add_(total.log_())


def _attend_fused(
    rows: _Rows, keys: BlockSource, values: BlockSource, factor: float, out: Tensor, lse: Tensor
) -> None:
    """As `_attend_products`, for types other than float32.

    Its scores have float32 at least on a CPU; on a GPU they are rounded to the inputs' type.
    """
    for blocks, ends, query, mixed, sums in rows.parts(rows.query, out, lse):
        key, value = (x.gather(blocks, ends) for x in (keys, values))
        if query.device.type == "cpu":
            fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            found = fused(query[None], key[None], value[None], scale=factor)
            mixed.copy_(found[0][0])
            sums.copy_(found[1][0])
        else:
            scores = (query @ key.mT).float() * factor
            torch.matmul(scores.softmax(-1).to(value.dtype), value, out=mixed)
            torch.logsumexp(scores, -1, out=sums)


def _kinds(
    blocks: BlockList, starts: list[int], ends: list[int], *, short: bool
) -> list[tuple[int, bool]]:
    """Of each row how many whole blocks it names, and whether it names the short one."""
    named = [end - start for start, end in zip(starts, ends, strict=True)]
    if not short:
        return [(count, False) for count in named]
    with_short = blocks.mask[..., -1].flatten().tolist()
    return [(count - more, more) for count, more in zip(named, with_short, strict=True)]


def _own_heads(rows: int, batch: int, heads: int, shared: int) -> list[int]:
    """Which of the B * Hkv heads of keys each of the list's rows reads."""
    sharing = rows // (batch * heads) * (heads // shared)
    return [row // sharing for row in range(rows)]


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
