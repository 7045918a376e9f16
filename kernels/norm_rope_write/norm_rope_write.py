"""RMSNorm of queries and keys, RoPE and the write into the cache, in one pass over a call's tokens.

Bytes, for N tokens of width d in a type of s bytes, counting passes of N d s. Apart: norms of query
and key read and write (4), rotations read and write (4), the cache's copies of key and value read
and write (4): 12. Here three reads and three writes: 6. Wan 1.3B at 480x832, a chunk of 3 frames:
14.4 MB a pass, so 86 MB less a layer and call, 12.9 GB a chunk (30 layers, 5 calls).
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# Its stubs also say that `tl.split` never returns.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from ..axis_rotations import AxisRotations
from ..gpu import on_gpu
from ..launch import launch
from ..ring_plan import FrameWrite, padded_writes
from ..tile.rope_tile import rotate_pairs, rotations_at


@triton.jit
def normed_heads(
    X, Weight, at, weight_at, inside, eps,
    WIDTH: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """RMSNorm over all heads of each token, [BLOCK_T * BLOCK_H, BLOCK_D] in the dtype of X."""
    x = tl.load(X + at, mask=inside, other=0.0).to(tl.float32)
    of_heads = tl.reshape(tl.sum(x * x, 1), [BLOCK_T, BLOCK_H])
    spread = tl.rsqrt(tl.sum(of_heads, 1) / WIDTH + eps)
    spread = tl.reshape(tl.broadcast_to(spread[:, None], [BLOCK_T, BLOCK_H]), [BLOCK_T * BLOCK_H])
    weight = tl.load(Weight + weight_at, mask=inside, other=0.0).to(tl.float32)
    # As the separate operations round: the norm before its weight, the product before RoPE.
    normed = (x * spread[:, None]).to(X.dtype.element_ty).to(tl.float32)
    return (normed * weight).to(X.dtype.element_ty)


@triton.jit
def for_heads(x, BLOCK_T: tl.constexpr, BLOCK_H: tl.constexpr, PAIRS: tl.constexpr):
    """`x` [BLOCK_T, PAIRS] repeated for the heads of each token, [BLOCK_T * BLOCK_H, PAIRS]."""
    wide = tl.broadcast_to(x[:, None, :], [BLOCK_T, BLOCK_H, PAIRS])
    return tl.reshape(wide, [BLOCK_T * BLOCK_H, PAIRS])


# Counters change with every chunk: a variant compiled for a 1 or a multiple of 16 would come late.
@triton.jit(
    do_not_specialize=[
        "tokens", "place",
        "source0", "source1", "source2", "slot0", "slot1", "slot2",
        "frames0", "frames1", "frames2",
    ]
)  # fmt: skip
def norm_rope_write_kernel(
    Query, Key, Value, WeightQ, WeightK, Out, CacheKey, CacheValue, TurnedKey, Cos, Sin,
    eps, tokens, place,
    source0, source1, source2, slot0, slot1, slot2, frames0, frames1, frames2,
    query_b, query_n, key_b, key_n, value_b, value_n, out_b, out_n, cache_b, cache_h,
    HEADS: tl.constexpr, BLOCK_H: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr, FRAME_TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
    FRAME_PAIRS: tl.constexpr, GRID_PAIRS: tl.constexpr, ROTATE_KEY: tl.constexpr,
    TURNED: tl.constexpr,
):  # fmt: skip
    """BLOCK_T tokens of one batch element; a row of a tile is one head of one token."""
    PAIRS: tl.constexpr = BLOCK_D // 2
    batch = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) * BLOCK_T
    row = tl.arange(0, BLOCK_T * BLOCK_H)[:, None]
    token = first + row // BLOCK_H
    head = row % BLOCK_H
    column = tl.arange(0, BLOCK_D)[None, :]
    inside = (token < tokens) & (head < HEADS) & (column < DIM)
    weight_at = head * DIM + column
    own = first + tl.arange(0, BLOCK_T)
    cos, sin = rotations_at(Cos, Sin, place * FRAME_TOKENS + own, own < tokens, FRAME_TOKENS,
                            COLUMNS, FRAME_PAIRS, GRID_PAIRS, PAIRS)  # fmt: skip
    cos = for_heads(cos, BLOCK_T, BLOCK_H, PAIRS)
    sin = for_heads(sin, BLOCK_T, BLOCK_H, PAIRS)
    wide = token.to(tl.int64)
    query = normed_heads(Query, WeightQ, batch * query_b + wide * query_n + weight_at, weight_at,
                         inside, eps, HEADS * DIM, BLOCK_T, BLOCK_H)  # fmt: skip
    rotated = rotate_pairs(query, cos, sin, BLOCK_T * BLOCK_H, BLOCK_D)
    out_at = batch * out_b + wide * out_n + weight_at
    tl.store(Out + out_at, rotated.to(Out.dtype.element_ty), mask=inside)

    key = normed_heads(Key, WeightK, batch * key_b + wide * key_n + weight_at, weight_at,
                       inside, eps, HEADS * DIM, BLOCK_T, BLOCK_H)  # fmt: skip
    if ROTATE_KEY:
        key = rotate_pairs(key, cos, sin, BLOCK_T * BLOCK_H, BLOCK_D).to(key.dtype)
    value_at = batch * value_b + wide * value_n + weight_at
    value = tl.load(Value + value_at, mask=inside, other=0.0)
    frame = token // FRAME_TOKENS
    in0 = (frame >= source0) & (frame < source0 + frames0)
    in1 = (frame >= source1) & (frame < source1 + frames1)
    in2 = (frame >= source2) & (frame < source2 + frames2)
    moved = tl.where(in0, slot0 - source0, tl.where(in1, slot1 - source1, slot2 - source2))
    cached = ((frame + moved) * FRAME_TOKENS + token % FRAME_TOKENS).to(tl.int64)
    cache_at = batch * cache_b + head.to(tl.int64) * cache_h + cached * DIM + column
    kept = inside & (in0 | in1 | in2)
    tl.store(CacheKey + cache_at, key.to(CacheKey.dtype.element_ty), mask=kept)
    if TURNED:
        turned = rotate_pairs(key, cos, sin, BLOCK_T * BLOCK_H, BLOCK_D)
        tl.store(TurnedKey + cache_at, turned.to(TurnedKey.dtype.element_ty), mask=kept)
    tl.store(CacheValue + cache_at, value.to(CacheValue.dtype.element_ty), mask=kept)


def norm_rope_write(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight_query: Tensor,
    weight_key: Tensor,
    cache_key: Tensor,
    cache_value: Tensor,
    *,
    rotation: AxisRotations,
    place: int,
    writes: Sequence[FrameWrite],
    rotate_key: bool,
    eps: float,
    turned_key: Tensor | None = None,
) -> Tensor:
    """Queries [B, H, N, D], normed and rotated; keys and values go to their slots of the cache.

    `query`, `key` and `value` [B, N, H * D] as projected, weights [H * D], caches [B, H, slots, D]
    with contiguous slots. The call's first frame stands at `place` of `rotation`. Keys are stored
    rotated if `rotate_key`, else raw; `turned_key`, which lies as the caches, then gets them
    rotated in the same slots. Frames that no write names are not stored. Raises ValueError for
    shapes that do not fit.
    """
    batch, heads, _, dim = cache_key.shape
    tokens, frame_tokens = query.shape[1], rotation.frame_tokens
    if query.shape[2] != heads * dim or tokens % frame_tokens or rotation.head_dim != dim:
        raise ValueError(
            f"query {tuple(query.shape)}, cache {tuple(cache_key.shape)}, frames of {frame_tokens} "
            f"tokens and rotations for heads of {rotation.head_dim} do not fit"
        )
    if place < 0 or place + tokens // frame_tokens > rotation.places:
        raise ValueError(f"place {place}: the tables hold {rotation.places} places")
    rows = {x.stride()[2:] for x in (cache_key, cache_value)}
    if rows != {(dim, 1)} or cache_key.stride() != cache_value.stride():
        raise ValueError("caches must have contiguous slots and equal strides")
    if turned_key is not None and (rotate_key or turned_key.stride() != cache_key.stride()):
        raise ValueError("turned_key goes with raw keys, and must have the strides of their cache")
    query, key, value = (x if x.stride(2) == 1 else x.contiguous() for x in (query, key, value))
    out = query.new_empty(batch, tokens, heads, dim)
    first, second, third = padded_writes(writes)
    block_t = 1 if on_gpu(query) else min(64, triton.next_power_of_2(tokens))
    launch(
        norm_rope_write_kernel, (triton.cdiv(tokens, block_t), batch), query,
        query, key, value, weight_query, weight_key, out, cache_key, cache_value,
        cache_key if turned_key is None else turned_key,
        rotation.cos, rotation.sin, eps, tokens, place,
        first.source, second.source, third.source, first.slot, second.slot, third.slot,
        first.frames, second.frames, third.frames,
        *query.stride()[:2], *key.stride()[:2], *value.stride()[:2], *out.stride()[:2],
        *cache_key.stride()[:2],
        HEADS=heads, BLOCK_H=triton.next_power_of_2(heads), DIM=dim,
        BLOCK_D=triton.next_power_of_2(dim), BLOCK_T=block_t, FRAME_TOKENS=frame_tokens,
        COLUMNS=rotation.columns, FRAME_PAIRS=rotation.frame_pairs,
        GRID_PAIRS=rotation.grid_pairs, ROTATE_KEY=rotate_key, TURNED=turned_key is not None,
    )  # fmt: skip
    return out.transpose(1, 2)
