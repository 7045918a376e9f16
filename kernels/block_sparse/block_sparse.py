"""Block-sparse attention: a row of a block list for every block of queries, one pass, no mask.

The same tile step as ring attention, on the tiles that the list names. With a global branch the
blocks that a row does not name still count, by the mean of each: more tiles of the same softmax,
with the logarithm of how many keys a mean stands for as bias. Video-BLADE (arXiv 2508.10774) does
this as a second attention, merged by log-sum-exp, over means of all keys, so that keys of chosen
blocks count twice; here means of chosen blocks have a bias of -inf, so that every key counts once.
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
from ..tile.online_softmax import dead_bias, online_softmax_end, online_softmax_step, zero_dead_rows
from ..tile.tile_sizes import Tile, sparse_tile
from .block_list import BlockList, blocks_of
from .global_branch import GlobalBranch


# Counters change while a window fills: a variant compiled for each would come late.
@triton.jit(do_not_specialize=["queries", "keys", "query_blocks", "key_blocks", "mean_rows"])
def block_sparse_kernel(
    Query, Key, Value, Out, Lse, Starts, Ends, Blocks, MeanKey, MeanValue, Bias,
    scale_log2, queries, keys, query_blocks, key_blocks, mean_rows,
    query_b, query_h, query_n,
    key_b, key_h, key_n,
    value_b, value_h, value_n,
    out_b, out_h, out_n,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, QUERY_TILES: tl.constexpr,
    KEY_TILES: tl.constexpr, DESCRIPTORS: tl.constexpr, GLOBAL: tl.constexpr,
):  # fmt: skip
    """BLOCK_M queries of one head, 1 / QUERY_TILES of a block of the list.

    A block of keys is KEY_TILES tiles of BLOCK_N. Only the list's last block can be short.
    """
    batch = (tl.program_id(1) // HEADS).to(tl.int64)
    head = (tl.program_id(1) % HEADS).to(tl.int64)
    shared = head // GROUP
    key_offset = batch * key_b + shared * key_h
    value_offset = batch * value_b + shared * value_h
    own = tl.program_id(1) // HEADS * (HEADS // GROUP) + tl.program_id(1) % HEADS // GROUP
    first_row = own * keys
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.arange(0, BLOCK_D)
    asked = (row < queries)[:, None] & (column < DIM)[None, :]
    query_at = row[:, None].to(tl.int64) * query_n + column[None, :]
    query = tl.load(Query + batch * query_b + head * query_h + query_at, mask=asked, other=0.0)

    mixed = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    peak = tl.full([BLOCK_M], float("-inf"), dtype=tl.float32)
    total = tl.zeros([BLOCK_M, 8], dtype=tl.float32)
    key_row = tl.arange(0, BLOCK_N)
    list_row = tl.program_id(1) * query_blocks + tl.program_id(0) // QUERY_TILES
    first = tl.load(Starts + list_row)
    end = tl.load(Ends + list_row)
    rest = keys % (BLOCK_N * KEY_TILES)
    # The short block, if there is one and this row names it, is the row's last one.
    newest = tl.load(Blocks + end - 1, mask=end > first, other=-1)
    short = tl.where((rest > 0) & (newest == key_blocks - 1), 1, 0)
    full = (end - first - short) * KEY_TILES + short * (rest // BLOCK_N)
    for tile in range(full):
        block = tl.load(Blocks + first + tile // KEY_TILES)
        start = (block * KEY_TILES + tile % KEY_TILES) * BLOCK_N
        key = load_rows(Key, key_offset, key_n, first_row, start, key_row < BLOCK_N,
                        False, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        value = load_rows(Value, value_offset, value_n, first_row, start, key_row < BLOCK_N,
                          False, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        mixed, peak, total = online_softmax_step(
            query, key, value, key_row, mixed, peak, total, scale_log2, False
        )

    # No step or one: a loop, because a branch would make the loop above wait for each product.
    for _ in range(tl.where(rest % BLOCK_N > 0, short, 0)):
        live = key_row < rest % BLOCK_N
        start = keys - rest % BLOCK_N
        key = load_rows(Key, key_offset, key_n, first_row, start, live,
                        True, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        value = load_rows(Value, value_offset, value_n, first_row, start, live,
                          True, DESCRIPTORS, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
        if DESCRIPTORS:
            value = zero_dead_rows(value, live)
        mixed, peak, total = online_softmax_step(
            query, key, value, dead_bias(live), mixed, peak, total, scale_log2, True
        )

    if GLOBAL:
        # Means lie as [B, Hkv, mean_rows, DIM], biases as the list's rows x key_blocks.
        mean_offset = own.to(tl.int64) * mean_rows * DIM
        bias_row = Bias + list_row.to(tl.int64) * key_blocks
        for tile in range(tl.cdiv(key_blocks, BLOCK_N)):
            mean = tile * BLOCK_N + key_row
            live = mean < key_blocks
            bias = tl.load(bias_row + mean, mask=live, other=float("-inf"))
            key = load_rows(MeanKey, mean_offset, DIM, 0, tile * BLOCK_N, live,
                            True, False, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
            value = load_rows(MeanValue, mean_offset, DIM, 0, tile * BLOCK_N, live,
                              True, False, BLOCK_N, DIM, BLOCK_D)  # fmt: skip
            mixed, peak, total = online_softmax_step(
                query, key, value, bias * 1.4426950408889634, mixed, peak, total, scale_log2, True
            )

    attention, lse = online_softmax_end(mixed, peak, total)
    out_at = row[:, None].to(tl.int64) * out_n + column[None, :]
    tl.store(
        Out + batch * out_b + head * out_h + out_at, attention.to(Out.dtype.element_ty), mask=asked
    )
    lse_at = tl.program_id(1).to(tl.int64) * queries + row
    tl.store(Lse + lse_at, lse, mask=row < queries)


def block_sparse(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: BlockList,
    *,
    rest: GlobalBranch | None = None,
    scale: float | None = None,
    tile: Tile | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention [B, H, N, D] of `query` to the listed blocks, its log-sum-exp [B, H, N] (float32).

    `query` [B, H, N, D]; `key` and `value` [B, Hkv, M, D] with H a multiple of Hkv, all of one
    dtype, any strides but the last, which is 1. `rest` is what counts beside the listed blocks.
    `scale` > 0 defaults to D ** -0.5. The result lies in memory as [B, N, H, D]. A row of the list
    without blocks, and without `rest`, gives zeros and -inf. `tile` must divide the list's blocks.
    Raises ValueError for shapes that do not fit.
    """
    blocks.check(query, key)
    batch, heads, queries, dim = query.shape
    shared, keys = key.shape[1], key.shape[2]
    _check(query, key, value)
    block_d = max(16, int(triton.next_power_of_2(dim)))
    tile = tile or sparse_tile(key, blocks.query_block, blocks.key_block)
    if blocks.query_block % tile.queries or blocks.key_block % tile.keys:
        raise ValueError(
            f"tiles of {tile.queries} x {tile.keys} do not divide blocks of "
            f"{blocks.query_block} x {blocks.key_block}"
        )
    factor = dim**-0.5 if scale is None else scale
    out = query.new_empty(batch, queries, heads, dim).transpose(1, 2)
    lse = query.new_empty(batch, heads, queries, dtype=torch.float32)
    sources: tuple[Any, Any] = (key, value)
    if tile.descriptors:
        sources = bulk_rows(key, tile.keys, block_d), bulk_rows(value, tile.keys, block_d)
    means = (lse, lse, lse) if rest is None else _means(rest, dim)
    mean_rows = 0 if rest is None else means[0].stride(1) // dim
    launch(
        block_sparse_kernel, (triton.cdiv(queries, tile.queries), batch * heads), query,
        query, *sources, out, lse, blocks.starts, blocks.ends, blocks.blocks, *means,
        factor * math.log2(math.e), queries, keys,
        blocks_of(queries, blocks.query_block), blocks_of(keys, blocks.key_block), mean_rows,
        *query.stride()[:3], *key.stride()[:3], *value.stride()[:3], *out.stride()[:3],
        HEADS=heads, GROUP=heads // shared, DIM=dim, BLOCK_D=block_d,
        BLOCK_M=tile.queries, BLOCK_N=tile.keys,
        QUERY_TILES=blocks.query_block // tile.queries,
        KEY_TILES=blocks.key_block // tile.keys,
        DESCRIPTORS=tile.descriptors, GLOBAL=rest is not None,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out, lse


def _means(rest: GlobalBranch, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Means whose heads lie at equal distances, be it with room behind them, and the biases."""

    def spaced(x: Tensor) -> Tensor:
        whole = x.stride()[2:] == (dim, 1) and x.stride(0) == x.shape[1] * x.stride(1)
        return x if whole else x.contiguous()

    key, value = spaced(rest.key), spaced(rest.value)
    if key.stride() != value.stride():
        key, value = key.contiguous(), value.contiguous()
    return key, value, rest.bias.contiguous()


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    if key.shape != value.shape or key.shape[::3] != query.shape[::3]:
        raise ValueError(
            f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}; "
            "expected [B, H, N, D] and twice [B, Hkv, M, D] with H a multiple of Hkv"
        )
    if query.shape[1] % key.shape[1]:
        raise ValueError(f"{query.shape[1]} heads cannot share {key.shape[1]} heads of keys")
    if {query.stride(3), key.stride(3), value.stride(3)} != {1}:
        raise ValueError("the last dimension of query, key and value must be contiguous")
    if len({query.dtype, key.dtype, value.dtype}) != 1:
        raise ValueError(
            f"query is {query.dtype}, key {key.dtype}, value {value.dtype}; expected one dtype"
        )
