"""Attention to a text's keys of queries that are normed on their way in: one pass less a layer.

The root-mean-square norm of a token spans all heads, so a block of queries reads its rows once for
their norms and then each head's part again, out of L2. A program therefore takes several heads of
its block, as many as leave no multiprocessor without work.

Bytes, for N tokens of width d in bfloat16, G heads of H at a time: with a norm of its own 4 N d for
the norm and 4 N d for attention; here 2 N d from memory, 2 N d H / G out of L2 and 2 N d written.
Wan 1.3B at 480x832, G = 4: 28.8 MB of memory traffic less a call, and a launch.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# pyright: reportArgumentType=false

from __future__ import annotations

import math

import triton
import triton.language as tl
from torch import Tensor

from ..gpu import multiprocessors
from ..launch import launch
from ..tile.load_rows import load_rows
from ..tile.online_softmax import dead_bias, online_softmax_end, online_softmax_step
from ..tile.tile_sizes import few_keys_tile

# So many heads at once spill two registers on sm_100, with Triton 3.7.1 and 3.9.0; twelve do not.
_SPILLING = 6


@triton.jit(do_not_specialize=["queries", "keys"])
def normed_attention_kernel(
    Query, Weight, Key, Value, Out,
    scale_log2, eps, queries, keys,
    key_b, key_h, key_n,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """GROUP heads of one block of queries, one head after another.

    Query and Out lie alike, Key and Value too: what is worked out once and kept from head to head
    has few registers to be in.
    """
    WIDTH: tl.constexpr = HEADS * DIM
    batch = (tl.program_id(1) // (HEADS // GROUP)).to(tl.int64)
    group = tl.program_id(1) % (HEADS // GROUP)
    first = tl.program_id(0) * BLOCK_M
    block = (batch * queries + first) * WIDTH
    row = tl.arange(0, BLOCK_M)[:, None]
    inside = row < queries - first
    # Rows past the end read the last one, which is cheaper to keep in mind than a mask.
    row = tl.minimum(row, queries - first - 1)
    column = tl.arange(0, BLOCK_D)
    squares = tl.zeros([BLOCK_M], dtype=tl.float32)
    for head in range(HEADS):
        columns = (head * DIM + column)[None, :]
        own = columns < head * DIM + DIM
        part = tl.load(Query + block + (row * WIDTH + columns), mask=own, other=0.0)
        part = part.to(tl.float32)
        squares += tl.sum(part * part, 1)
    spread = tl.rsqrt(squares / WIDTH + eps)

    key_row = tl.arange(0, BLOCK_N)
    full = keys // BLOCK_N
    for index in range(GROUP):
        head = group * GROUP + index
        columns = (head * DIM + column)[None, :]
        own = columns < head * DIM + DIM
        at = block + (row * WIDTH + columns)
        weight = tl.load(Weight + columns, mask=own, other=0.0).to(tl.float32)
        query = tl.load(Query + at, mask=own, other=0.0).to(tl.float32)
        # As the separate operations round: the norm before its weight.
        query = (query * spread[:, None]).to(Query.dtype.element_ty).to(tl.float32)
        query = (query * weight).to(Query.dtype.element_ty)
        offset = batch * key_b + head.to(tl.int64) * key_h
        mixed = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
        peak = tl.full([BLOCK_M], float("-inf"), dtype=tl.float32)
        total = tl.zeros([BLOCK_M, 8], dtype=tl.float32)
        for tile in range(full):
            start = tile * BLOCK_N
            key = load_rows(Key, offset, key_n, 0, start, key_row < BLOCK_N,
                            False, False, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
            value = load_rows(Value, offset, key_n, 0, start, key_row < BLOCK_N,
                              False, False, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
            mixed, peak, total = online_softmax_step(
                query, key, value, key_row < BLOCK_N, mixed, peak, total, scale_log2, False
            )
        # No step or one for the ragged end: a loop, because a branch would serialise the products.
        for tile in range(full, tl.cdiv(keys, BLOCK_N)):
            start = tile * BLOCK_N
            live = key_row < keys - start
            key = load_rows(Key, offset, key_n, 0, start, live,
                            True, False, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
            value = load_rows(Value, offset, key_n, 0, start, live,
                              True, False, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
            mixed, peak, total = online_softmax_step(
                query, key, value, dead_bias(live), mixed, peak, total, scale_log2, True
            )
        attention = online_softmax_end(mixed, peak, total)[0].to(Out.dtype.element_ty)
        tl.store(Out + block + (row * WIDTH + columns), attention, mask=inside & own)


def normed_attention(
    query: Tensor, weight: Tensor, key: Tensor, value: Tensor, eps: float
) -> Tensor:
    """Attention [B, N, H * D] of normed queries to all keys; heads lie beside each other.

    `query` [B, N, H * D] as projected, before its norm (`rms_norm`) with `weight` [H * D]; `key`
    and `value` [B, H, M, D], all of one dtype. Best they lie as they are projected: queries
    contiguous, keys and values alike, a row of theirs in one piece; what does not is copied.
    Raises ValueError for shapes that do not fit.
    """
    batch, heads, keys, dim = key.shape
    queries, width = query.shape[1:]
    if key.shape != value.shape or query.shape[::2] != (batch, heads * dim):
        raise ValueError(
            f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}; "
            "expected [B, N, H * D] and twice [B, H, M, D]"
        )
    if weight.shape != (width,) or not keys:
        raise ValueError(f"weight {tuple(weight.shape)}, {keys} keys; expected [{width}] and some")
    if len({query.dtype, key.dtype, value.dtype}) != 1:
        raise ValueError(
            f"query is {query.dtype}, key {key.dtype}, value {value.dtype}; expected one dtype"
        )
    query, weight = query.contiguous(), weight.contiguous()
    if key.stride() != value.stride() or key.stride(3) != 1:
        key, value = key.contiguous(), value.contiguous()
    block_d = max(16, int(triton.next_power_of_2(dim)))
    tile = few_keys_tile(key)
    blocks = -(-queries // tile.queries)
    group = heads_at_once(heads, batch * blocks, multiprocessors(query))
    out = query.new_empty(batch, queries, width)
    launch(
        normed_attention_kernel, (blocks, batch * (heads // group)), query,
        query, weight, key, value, out,
        dim**-0.5 * math.log2(math.e), eps, queries, keys,
        *key.stride()[:3],
        HEADS=heads, GROUP=group, DIM=dim, BLOCK_D=block_d,
        BLOCK_M=tile.queries, BLOCK_N=tile.keys,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out


def heads_at_once(heads: int, blocks: int, places: int) -> int:
    """How many heads a program takes, so that the last of them is done first.

    Of those that are done at the same time the most: rows are then read least often for their
    norms. `blocks` of queries are at work in `places` at a time. Never `_SPILLING`.
    """
    shares = [count for count in range(1, heads + 1) if heads % count == 0 and count != _SPILLING]

    def rounds(count: int) -> int:
        return count * -(-blocks * (heads // count) // places)

    least = min(map(rounds, shares))
    return max(count for count in shares if rounds(count) == least)
