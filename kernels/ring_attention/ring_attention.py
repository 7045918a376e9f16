"""Attention to a ring cache in one pass: sink and rolling window, nothing gathered, no mask.

Keys are used as they lie. Those that were rotated before they were stored (Self-Forcing, arXiv
2506.08009) are ready; raw ones (Reward Forcing, arXiv 2512.04678) are rotated by `key_rotation`
first.

Head sizes that are not a power of two are padded in registers only: memory holds, and loads touch,
`head_dim` elements. At 96 the matrix products do a third more work than they need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch
from ..ring_plan import Span, padded_spans
from ..tile.bulk_rows import bulk_rows
from ..tile.load_rows import load_rows
from ..tile.online_softmax import dead_bias, online_softmax_end, online_softmax_step, zero_dead_rows
from ..tile.tile_sizes import Tile, attention_tile


# Counters change with every chunk: a variant compiled for a 1 or a multiple of 16 would come late.
@triton.jit(
    do_not_specialize=[
        "queries", "slots", "start0", "start1", "start2", "tokens0", "tokens1", "tokens2",
    ]
)  # fmt: skip
def ring_attention_kernel(
    Query, Key, Value, Out, Lse,
    scale_log2, queries, slots,
    start0, start1, start2,
    tokens0, tokens1, tokens2,
    query_b, query_h, query_n,
    key_b, key_h, key_n,
    value_b, value_h, value_n,
    out_b, out_h, out_n,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, DESCRIPTORS: tl.constexpr,
):  # fmt: skip
    """One block of queries of one head against up to three spans of slots."""
    batch = (tl.program_id(1) // HEADS).to(tl.int64)
    head = (tl.program_id(1) % HEADS).to(tl.int64)
    shared = head // GROUP
    key_offset = batch * key_b + shared * key_h
    value_offset = batch * value_b + shared * value_h
    first_row = (
        tl.program_id(1) // HEADS * (HEADS // GROUP) + tl.program_id(1) % HEADS // GROUP
    ) * slots
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.arange(0, BLOCK_D)
    asked = (row < queries)[:, None] & (column < DIM)[None, :]
    query_at = row[:, None].to(tl.int64) * query_n + column[None, :]
    query = tl.load(Query + batch * query_b + head * query_h + query_at, mask=asked, other=0.0)

    mixed = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    peak = tl.full([BLOCK_M], float("-inf"), dtype=tl.float32)
    total = tl.zeros([BLOCK_M, 8], dtype=tl.float32)
    key_row = tl.arange(0, BLOCK_N)
    full0 = tokens0 // BLOCK_N
    full1 = full0 + tokens1 // BLOCK_N
    full2 = full1 + tokens2 // BLOCK_N
    # Tile i of a span starts at `start + i * BLOCK_N`; i counts on over the spans.
    from1 = start1 - full0 * BLOCK_N
    from2 = start2 - full1 * BLOCK_N

    for tile in range(full2):
        start = (
            tl.where(tile < full0, start0, tl.where(tile < full1, from1, from2)) + tile * BLOCK_N
        )
        key = load_rows(Key, key_offset, key_n, first_row, start, key_row < BLOCK_N,
                        False, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        value = load_rows(Value, value_offset, value_n, first_row, start, key_row < BLOCK_N,
                          False, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        mixed, peak, total = online_softmax_step(
            query, key, value, key_row < BLOCK_N, mixed, peak, total, scale_log2, False
        )

    # The spans' ragged ends: as many steps as there are spans that have one. A counted loop,
    # because a branch here would make the loop above wait for each of its matrix products.
    rest0 = tokens0 % BLOCK_N
    rest1 = tokens1 % BLOCK_N
    rest2 = tokens2 % BLOCK_N
    tails0 = tl.where(rest0 > 0, 1, 0)
    tails1 = tails0 + tl.where(rest1 > 0, 1, 0)
    tails2 = tails1 + tl.where(rest2 > 0, 1, 0)
    for tail in range(tails2):
        end1 = start1 + tokens1 - rest1
        end2 = start2 + tokens2 - rest2
        start = tl.where(
            tail < tails0, start0 + tokens0 - rest0, tl.where(tail < tails1, end1, end2)
        )
        rest = tl.where(tail < tails0, rest0, tl.where(tail < tails1, rest1, rest2))
        live = key_row < rest
        key = load_rows(Key, key_offset, key_n, first_row, start, live,
                        True, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        value = load_rows(Value, value_offset, value_n, first_row, start, live,
                          True, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        if DESCRIPTORS:
            value = zero_dead_rows(value, live)
        mixed, peak, total = online_softmax_step(
            query, key, value, dead_bias(live), mixed, peak, total, scale_log2, True
        )

    attention, lse = online_softmax_end(mixed, peak, total)
    out_at = row[:, None].to(tl.int64) * out_n + column[None, :]
    tl.store(
        Out + batch * out_b + head * out_h + out_at, attention.to(Out.dtype.element_ty), mask=asked
    )
    lse_at = tl.program_id(1).to(tl.int64) * queries + row
    tl.store(Lse + lse_at, lse, mask=row < queries)


def ring_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spans: Sequence[Span],
    *,
    scale: float | None = None,
    tile: Tile | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention [B, H, N, D] of `query` to the live slots, and its log-sum-exp [B, H, N] (float32).

    `query` [B, H, N, D], rotated; `key` and `value` [B, Hkv, slots, D] with H a multiple of Hkv,
    all of one dtype, any strides but the last, which is 1. Slots outside of `spans` (at most three)
    are never used and may hold anything, NaN included. Places of
    spans are not read. `scale` > 0 defaults to D ** -0.5. The result lies in memory as
    [B, N, H, D]. Without any live slot it is zero, and the log-sum-exp -inf. Raises ValueError for
    shapes that do not fit.
    """
    _check(query, key, value, spans)
    batch, heads, queries, dim = query.shape
    shared, slots = key.shape[1], key.shape[2]
    block_d = max(16, int(triton.next_power_of_2(dim)))
    tile = tile or attention_tile(key)
    factor = dim**-0.5 if scale is None else scale
    out = query.new_empty(batch, queries, heads, dim).transpose(1, 2)
    lse = query.new_empty(batch, heads, queries, dtype=torch.float32)
    sources: tuple[Any, Any] = (key, value)
    if tile.descriptors:
        sources = bulk_rows(key, tile.keys, block_d), bulk_rows(value, tile.keys, block_d)
    first, second, third = padded_spans(spans)
    launch(
        ring_attention_kernel, (-(-queries // tile.queries), batch * heads), query,
        query, *sources, out, lse,
        factor * math.log2(math.e), queries, slots,
        first.start, second.start, third.start,
        first.tokens, second.tokens, third.tokens,
        *query.stride()[:3], *key.stride()[:3], *value.stride()[:3], *out.stride()[:3],
        HEADS=heads, GROUP=heads // shared, DIM=dim, BLOCK_D=block_d,
        BLOCK_M=tile.queries, BLOCK_N=tile.keys, DESCRIPTORS=tile.descriptors,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out, lse


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spans: Sequence[Span],
) -> None:
    batch, heads, _, dim = query.shape
    shared, slots = key.shape[1], key.shape[2]
    if key.shape != value.shape or key.shape[::3] != (batch, dim) or heads % shared:
        raise ValueError(
            f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}; "
            "expected [B, H, N, D] and twice [B, Hkv, slots, D] with H a multiple of Hkv"
        )
    if {query.stride(3), key.stride(3), value.stride(3)} != {1}:
        raise ValueError("the last dimension of query, key and value must be contiguous")
    if len({query.dtype, key.dtype, value.dtype}) != 1:
        raise ValueError(
            f"query is {query.dtype}, key {key.dtype}, value {value.dtype}; expected one dtype"
        )
    if any(s.start < 0 or s.tokens < 0 or s.start + s.tokens > slots for s in spans):
        raise ValueError(f"spans {tuple(spans)} leave the {slots} slots")
