"""Attention whose scores are products of 8-bit integers; weights times values as they are.

After SageAttention (arXiv 2410.02367), see `reference`. Scores on tensor cores take half the time
of those in half precision and keys half the traffic; the other product, weights times values, stays
in the type of the values. One pass quantises keys; queries are quantised where attention loads
them.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch
from ..tile.bulk_rows import bulk_rows
from ..tile.load_rows import load_rows
from ..tile.online_softmax import online_softmax_end, zero_dead_rows
from ..tile.tile_sizes import Tile, int8_tile
from .reference import INT8_MOST, KEY_BLOCK, SMALLEST


@triton.jit
def nearest_integer(x):
    """`x` (float32, at most 127 in size) rounded to an integer, ties to even, int8."""
    return ((x + 12582912.0) - 12582912.0).to(tl.int8)


# Counters change while a window fills: a variant compiled for each would come late.
@triton.jit(do_not_specialize=["keys", "blocks"])
def int8_keys_kernel(
    Key, Mean, Out, Scale,
    keys, blocks,
    key_b, key_h, key_n,
    HEADS: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr,
    MOST: tl.constexpr, SMALLEST: tl.constexpr,
):  # fmt: skip
    """One block of keys of one head."""
    batch = (tl.program_id(1) // HEADS).to(tl.int64)
    head = (tl.program_id(1) % HEADS).to(tl.int64)
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
    column = tl.arange(0, BLOCK_D)[None, :]
    inside = (row < keys) & (column < DIM)
    own = tl.program_id(1).to(tl.int64)
    wide = row.to(tl.int64)
    key_at = batch * key_b + head * key_h + wide * key_n + column
    key = tl.load(Key + key_at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.load(Mean + own * DIM + column, mask=column < DIM, other=0.0)
    key = tl.where(inside, key - mean, 0.0)
    scale = tl.math.div_rn(tl.maximum(tl.max(tl.abs(key)), SMALLEST), MOST)
    small = nearest_integer(tl.math.div_rn(key, tl.broadcast_to(scale, key.shape)))
    tl.store(Out + (own * keys + wide) * DIM + column, small, mask=inside)
    tl.store(Scale + own * blocks + tl.program_id(0), scale)


@triton.jit
def int8_softmax_step(
    query, key, value, factor, live, mixed, peak, total, MASKED: tl.constexpr
):  # fmt: skip
    """As `online_softmax_step` of integers; `factor` [BLOCK_M] makes base-2 scores of products."""
    scores = tl.dot(query, tl.trans(key), out_dtype=tl.int32).to(tl.float32)
    if MASKED:
        scores = tl.where(live[None, :], scores, float("-inf"))
    higher = tl.maximum(peak, tl.max(scores, 1) * factor)
    weights = tl.exp2(scores * factor[:, None] - higher[:, None])
    keep = tl.exp2(peak - higher)
    M: tl.constexpr = weights.shape[0]
    N: tl.constexpr = weights.shape[1]
    total = total * keep[:, None] + tl.sum(tl.reshape(weights, [M, N // 8, 8]), 1)
    mixed = mixed * keep[:, None]
    mixed = tl.dot(weights.to(value.dtype), value, mixed, input_precision="ieee")
    return mixed, higher, total


@triton.jit(do_not_specialize=["queries", "keys", "blocks"])
def int8_attention_kernel(
    Query, Key, Value, Scale, Out,
    scale_log2, queries, keys, blocks,
    query_b, query_h, query_n,
    value_b, value_h, value_n,
    out_b, out_h, out_n,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, DESCRIPTORS: tl.constexpr, MOST: tl.constexpr,
    SMALLEST: tl.constexpr,
):  # fmt: skip
    """One block of queries of one head against all keys, a tile for each scale of them."""
    batch = (tl.program_id(1) // HEADS).to(tl.int64)
    head = (tl.program_id(1) % HEADS).to(tl.int64)
    shared = head // GROUP
    own = tl.program_id(1) // HEADS * (HEADS // GROUP) + tl.program_id(1) % HEADS // GROUP
    first_row = own * keys
    key_offset = own.to(tl.int64) * keys * DIM
    value_offset = batch * value_b + shared * value_h
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.arange(0, BLOCK_D)
    asked = (row < queries)[:, None] & (column < DIM)[None, :]
    query_at = row[:, None].to(tl.int64) * query_n + column[None, :]
    query = tl.load(Query + batch * query_b + head * query_h + query_at, mask=asked, other=0.0)
    query = query.to(tl.float32)
    of_row = tl.math.div_rn(tl.maximum(tl.max(tl.abs(query), 1), SMALLEST), MOST)
    query = nearest_integer(tl.math.div_rn(query, tl.broadcast_to(of_row[:, None], query.shape)))
    of_row = of_row * scale_log2

    mixed = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    peak = tl.full([BLOCK_M], float("-inf"), dtype=tl.float32)
    total = tl.zeros([BLOCK_M, 8], dtype=tl.float32)
    key_row = tl.arange(0, BLOCK_N)
    scale_at = Scale + own.to(tl.int64) * blocks
    whole = keys // BLOCK_N
    for tile in range(whole):
        start = tile * BLOCK_N
        key = load_rows(Key, key_offset, DIM, first_row, start, key_row < BLOCK_N,
                        False, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        value = load_rows(Value, value_offset, value_n, first_row, start, key_row < BLOCK_N,
                          False, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        factor = of_row * tl.load(scale_at + tile)
        mixed, peak, total = int8_softmax_step(
            query, key, value, factor, key_row < BLOCK_N, mixed, peak, total, False
        )

    # No step or one: a loop, because a branch would make the loop above wait for each product.
    for tile in range(whole, tl.cdiv(keys, BLOCK_N)):
        start = tile * BLOCK_N
        live = key_row < keys - start
        key = load_rows(Key, key_offset, DIM, first_row, start, live,
                        True, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        value = load_rows(Value, value_offset, value_n, first_row, start, live,
                          True, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        if DESCRIPTORS:
            value = zero_dead_rows(value, live)
        factor = of_row * tl.load(scale_at + tile)
        mixed, peak, total = int8_softmax_step(
            query, key, value, factor, live, mixed, peak, total, True
        )

    attention, _ = online_softmax_end(mixed, peak, total)
    out_at = row[:, None].to(tl.int64) * out_n + column[None, :]
    tl.store(
        Out + batch * out_b + head * out_h + out_at, attention.to(Out.dtype.element_ty), mask=asked
    )


def quantise_keys(key: Tensor) -> tuple[Tensor, Tensor]:
    """As `quantise_keys_ref`: [B, H, M, D] int8, contiguous, and scales [B, H, blocks]."""
    batch, heads, keys, dim = key.shape
    key = key if key.stride(3) == 1 else key.contiguous()
    blocks = triton.cdiv(keys, KEY_BLOCK)
    mean = key.mean(2, dtype=torch.float32)
    out = key.new_empty(key.shape, dtype=torch.int8)
    scale = key.new_empty(batch, heads, blocks, dtype=torch.float32)
    launch(
        int8_keys_kernel, (blocks, batch * heads), key,
        key, mean, out, scale, keys, blocks, *key.stride()[:3],
        HEADS=heads, DIM=dim, BLOCK_D=triton.next_power_of_2(dim), BLOCK_N=KEY_BLOCK,
        MOST=INT8_MOST, SMALLEST=SMALLEST,
    )  # fmt: skip
    return out, scale


def int8_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | None = None,
    tile: Tile | None = None,
) -> Tensor:
    """As `int8_attention_ref`, [B, H, N, D] in the dtype of `query`, in memory as [B, N, H, D].

    `query` [B, H, N, D]; `key` and `value` [B, Hkv, M, D] with H a multiple of Hkv, at least one
    key, all of one dtype, any strides but the last, which is 1. `scale` > 0 defaults to D ** -0.5.
    Raises ValueError for shapes that do not fit.
    """
    batch, heads, queries, dim = query.shape
    shared, keys = key.shape[1], key.shape[2]
    if key.shape != value.shape or key.shape[::3] != (batch, dim) or heads % shared or not keys:
        raise ValueError(
            f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}; "
            "expected [B, H, N, D] and twice [B, Hkv, M, D] with H a multiple of Hkv"
        )
    if len({query.dtype, key.dtype, value.dtype}) != 1:
        raise ValueError(
            f"query is {query.dtype}, key {key.dtype}, value {value.dtype}; expected one dtype"
        )
    query, value = (x if x.stride(3) == 1 else x.contiguous() for x in (query, value))
    tile = tile or int8_tile(value)
    if tile.keys != KEY_BLOCK:
        raise ValueError(f"tiles of {tile.keys} keys; expected {KEY_BLOCK}, which share a scale")
    small, scales = quantise_keys(key)
    # products of integers want 32 of them
    block_d = max(32, int(triton.next_power_of_2(dim)))
    out = query.new_empty(batch, queries, heads, dim).transpose(1, 2)
    factor = dim**-0.5 if scale is None else scale
    sources: tuple[Any, Any] = (small, value)
    if tile.descriptors:
        sources = bulk_rows(small, tile.keys, block_d), bulk_rows(value, tile.keys, block_d)
    launch(
        int8_attention_kernel, (triton.cdiv(queries, tile.queries), batch * heads), query,
        query, *sources, scales, out,
        factor * math.log2(math.e), queries, keys, scales.shape[2],
        *query.stride()[:3], *value.stride()[:3], *out.stride()[:3],
        HEADS=heads, GROUP=heads // shared, DIM=dim, BLOCK_D=block_d,
        BLOCK_M=tile.queries, BLOCK_N=tile.keys, DESCRIPTORS=tile.descriptors,
        MOST=INT8_MOST, SMALLEST=SMALLEST,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out
