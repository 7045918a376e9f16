"""Scores and choice of blocks in one kernel: from block means to the list that attention reads.

What `choose_blocks` does with some forty operations of torch: means of the queries, their scores
against the means of the keys, softmax, and the highest of each row by energy or by number. A row is
a block of queries of one head. Nothing is sorted: what is kept is all that is not below a
threshold, which is found by halving. A score and its block's number are one integer, so equal
scores count in the order of their blocks and a row is the same every time.

Bytes: the queries once, and for each row the means of its head's keys, a 128th or less of what
attention to all of them reads.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# pyright: reportArgumentType=false

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch
from .block_list import BlockList, blocks_of
from .block_pool import BlockMeans
from .block_select import fewest_blocks, most_blocks
from .global_branch import GlobalBranch
from .sparse_policy import SparsePolicy

# Scores are of float32 up to 1.0, whose bits as an integer are below 2 ** 30.
_SCORE_BITS = 30
# Elements of means that a program holds at a time, and the columns of a head at a time.
_TILE = 8192
_COLUMNS = 16


@dataclass(frozen=True, slots=True)
class _Limits:
    """How many blocks of a row are chosen: `fewest` to `most`, between them as `energy` asks."""

    energy: float
    fewest: int
    most: int


# Counters change while a window fills: a variant compiled for each would come late.
@triton.jit(
    do_not_specialize=[
        "queries", "keys", "query_blocks", "key_blocks", "room", "row_room", "fewest", "most",
    ]
)  # fmt: skip
def block_select_kernel(
    Query, MeanKey, Starts, Ends, Blocks, Mask, Bias,
    scale_log2, energy, queries, keys, query_blocks, key_blocks, room, row_room, fewest, most,
    query_b, query_h, query_n,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr,
    QUERY_BLOCK: tl.constexpr, KEY_BLOCK: tl.constexpr, BLOCK_K: tl.constexpr,
    BLOCK_C: tl.constexpr, STEPS: tl.constexpr, BIASED: tl.constexpr,
):  # fmt: skip
    """One block of queries of one head against the means of BLOCK_K blocks of keys.

    STEPS halvings find the threshold.
    """
    batch = (tl.program_id(1) // HEADS).to(tl.int64)
    head = (tl.program_id(1) % HEADS).to(tl.int64)
    own = tl.program_id(1) // HEADS * (HEADS // GROUP) + tl.program_id(1) % HEADS // GROUP
    row = tl.program_id(0) * QUERY_BLOCK + tl.arange(0, QUERY_BLOCK)
    count = tl.minimum(queries - tl.program_id(0) * QUERY_BLOCK, QUERY_BLOCK).to(tl.float32)
    block = tl.arange(0, BLOCK_K)
    live = block < key_blocks
    query_at = Query + batch * query_b + head * query_h + row[:, None].to(tl.int64) * query_n
    means_at = MeanKey + (own.to(tl.int64) * room + block[:, None]) * DIM
    score = tl.zeros([BLOCK_K], dtype=tl.float32)
    for first in range(0, DIM, BLOCK_C):
        column = first + tl.arange(0, BLOCK_C)[None, :]
        asked = (row < queries)[:, None] & (column < DIM)
        query = tl.load(query_at + column, mask=asked, other=0.0).to(tl.float32)
        # As the means of keys are kept: rounded to the type of their source.
        mean = (tl.sum(query, 0) / count).to(Query.dtype.element_ty).to(tl.float32)
        key = tl.load(means_at + column, mask=live[:, None] & (column < DIM), other=0.0)
        score += tl.sum(key.to(tl.float32) * mean[None, :], 1)

    # A short block counts for as many keys as it has.
    held = tl.minimum(keys - block * KEY_BLOCK, KEY_BLOCK).to(tl.float32)
    weight = tl.log2(tl.where(live, held, 1.0))
    score = tl.where(live, score * scale_log2 + weight, float("-inf"))
    share = tl.exp2(score - tl.max(score, 0))
    share = share / tl.sum(share, 0)
    wanted = energy * tl.sum(share, 0)
    rank = share.to(tl.int32, bitcast=True).to(tl.int64) * BLOCK_K + (BLOCK_K - 1 - block)
    rank = tl.where(live, rank, -1)
    # The lowest threshold at which a block still counts, by what is above it.
    low = tl.zeros([], dtype=tl.int64)
    high = low + (1 << STEPS) - 1
    for _ in range(STEPS):
        middle = (low + high) // 2
        above = rank > middle
        heavier = tl.sum(tl.where(above, share, 0.0), 0)
        ahead = tl.sum(above.to(tl.int32), 0)
        counts = ((heavier < wanted) | (ahead < fewest)) & (ahead < most)
        high = tl.where(counts, middle, high)
        low = tl.where(counts, low, middle + 1)

    kept = rank >= low
    place = tl.cumsum(kept.to(tl.int32), 0) - 1
    list_row = tl.program_id(1) * query_blocks + tl.program_id(0)
    start = list_row * row_room
    tl.store(Blocks + start.to(tl.int64) + place, block, mask=kept)
    tl.store(Starts + list_row, start)
    tl.store(Ends + list_row, start + tl.sum(kept.to(tl.int32), 0))
    table_at = list_row.to(tl.int64) * key_blocks + block
    tl.store(Mask + table_at, kept, mask=live)
    if BIASED:
        bias = tl.where(kept, float("-inf"), weight * 0.6931471805599453)
        tl.store(Bias + table_at, bias, mask=live)


def select_blocks(
    query: Tensor,
    means: BlockMeans,
    keys: int,
    policy: SparsePolicy,
    *,
    scale: float | None = None,
) -> tuple[BlockList, GlobalBranch | None]:
    """The blocks that `policy` wants for `query` [B, H, N, D], and the branch if it has one.

    `means` are of the `keys` first keys. As `choose_blocks` for policies that score by means: rows
    have room for the most blocks that any number of keys up to the room of `means` allows. Raises
    ValueError for other policies, and for means that do not fit.
    """
    batch, heads, queries, dim = query.shape
    shared, room = means.key.shape[1:3]
    query_block, key_block = policy.query_block, policy.key_block
    key_blocks, query_blocks = blocks_of(keys, key_block), blocks_of(queries, query_block)
    if not policy.by_means:
        raise ValueError(f"{policy.kind} with {policy.samples} samples does not score by means")
    if means.key.shape[::3] != (batch, dim) or heads % shared or key_blocks > room:
        raise ValueError(
            f"query {tuple(query.shape)}, means {tuple(means.key.shape)} and {key_blocks} blocks "
            "of keys do not fit"
        )
    if means.block != key_block or (policy.global_branch and means.value is None):
        raise ValueError(f"means of blocks of {means.block}, with values or not, are not for it")
    query = query if query.stride(3) == 1 else query.contiguous()
    limits = _limits(policy, key_blocks)
    rows = batch * heads * query_blocks
    row_room = most_blocks(room, policy.max_density)
    factor = dim**-0.5 if scale is None else scale

    def integers(count: int) -> Tensor:
        return query.new_empty(count, dtype=torch.int32)

    table = (batch, heads, query_blocks, key_blocks)
    starts, ends, blocks = integers(rows), integers(rows), integers(rows * row_room)
    mask = query.new_empty(table, dtype=torch.bool)
    bias = query.new_empty(table, dtype=torch.float32) if policy.global_branch else None
    block_k = max(16, int(triton.next_power_of_2(room)))
    launch(
        block_select_kernel, (query_blocks, batch * heads), query,
        query, means.key, starts, ends, blocks,
        mask, starts if bias is None else bias,
        factor * math.log2(math.e), limits.energy, queries, keys, query_blocks, key_blocks, room,
        row_room, limits.fewest, limits.most,
        *query.stride()[:3],
        HEADS=heads, GROUP=heads // shared, DIM=dim,
        QUERY_BLOCK=query_block, KEY_BLOCK=key_block, BLOCK_K=block_k,
        BLOCK_C=max(1, min(_COLUMNS, _TILE // block_k)),
        STEPS=_SCORE_BITS + block_k.bit_length() - 1, BIASED=bias is not None,
    )  # fmt: skip
    chosen = BlockList(starts, ends, blocks, mask, query_block, key_block)
    if bias is None or means.value is None:
        return chosen, None
    return chosen, GlobalBranch(means.key[:, :, :key_blocks], means.value[:, :, :key_blocks], bias)


def _limits(policy: SparsePolicy, key_blocks: int) -> _Limits:
    most = most_blocks(key_blocks, policy.max_density)
    if policy.kind == "top_k":
        return _Limits(0.0, most, most)
    return _Limits(policy.energy, fewest_blocks(key_blocks, policy.min_density), most)
