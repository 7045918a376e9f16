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

from .axis_rotations import AxisRotations
from .launch import on_device
from .ring_plan import FrameWrite, padded_writes
from .rope_tile import rotate_pairs, rotations_at


@triton.jit
def normed_heads(X, Weight, at, inside, eps, WIDTH: tl.constexpr):
    """RMSNorm over all heads of a token, [BLOCK_H, BLOCK_D] at offsets `at`; dtype of X."""
    x = tl.load(X + at, mask=inside, other=0.0).to(tl.float32)
    spread = tl.rsqrt(tl.sum(tl.sum(x * x, 1), 0) / WIDTH + eps)
    weight = tl.load(Weight + at, mask=inside, other=0.0).to(tl.float32)
    # As the separate operations round: the norm before its weight, the product before RoPE.
    normed = (x * spread).to(X.dtype.element_ty).to(tl.float32)
    return (normed * weight).to(X.dtype.element_ty)


@triton.jit
def norm_rope_write_kernel(
    Query, Key, Value, WeightQ, WeightK, Out, CacheKey, CacheValue, Cos, Sin,
    eps, place,
    source0, source1, source2, slot0, slot1, slot2, frames0, frames1, frames2,
    query_b, query_n, key_b, key_n, value_b, value_n, out_b, out_n, cache_b, cache_h,
    HEADS: tl.constexpr, BLOCK_H: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    FRAME_TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
    FRAME_PAIRS: tl.constexpr, GRID_PAIRS: tl.constexpr, ROTATE_KEY: tl.constexpr,
):  # fmt: skip
    """One token of one batch element."""
    token = tl.program_id(0)
    batch = tl.program_id(1).to(tl.int64)
    head = tl.arange(0, BLOCK_H)[:, None]
    column = tl.arange(0, BLOCK_D)[None, :]
    inside = (head < HEADS) & (column < DIM)
    at = head * DIM + column
    position = place * FRAME_TOKENS + token + tl.arange(0, 1)
    cos, sin = rotations_at(Cos, Sin, position, position >= 0, FRAME_TOKENS, COLUMNS,
                            FRAME_PAIRS, GRID_PAIRS, BLOCK_D // 2)  # fmt: skip
    wide = token.to(tl.int64)
    query = normed_heads(Query + batch * query_b + wide * query_n, WeightQ, at, inside, eps,
                         HEADS * DIM)  # fmt: skip
    turned = rotate_pairs(query, cos, sin, BLOCK_H, BLOCK_D)
    out_at = batch * out_b + wide * out_n + at
    tl.store(Out + out_at, turned.to(Out.dtype.element_ty), mask=inside)

    key = normed_heads(Key + batch * key_b + wide * key_n, WeightK, at, inside, eps,
                       HEADS * DIM)  # fmt: skip
    if ROTATE_KEY:
        key = rotate_pairs(key, cos, sin, BLOCK_H, BLOCK_D).to(key.dtype)
    value = tl.load(Value + batch * value_b + wide * value_n + at, mask=inside, other=0.0)
    frame = token // FRAME_TOKENS
    in0 = (frame >= source0) & (frame < source0 + frames0)
    in1 = (frame >= source1) & (frame < source1 + frames1)
    in2 = (frame >= source2) & (frame < source2 + frames2)
    moved = tl.where(in0, slot0 - source0, tl.where(in1, slot1 - source1, slot2 - source2))
    row = ((frame + moved) * FRAME_TOKENS + token % FRAME_TOKENS).to(tl.int64)
    cache_at = batch * cache_b + head.to(tl.int64) * cache_h + row * DIM + column
    kept = inside & (in0 | in1 | in2)
    tl.store(CacheKey + cache_at, key.to(CacheKey.dtype.element_ty), mask=kept)
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
) -> Tensor:
    """Queries [B, H, N, D], normed and turned; keys and values go to their slots of the cache.

    `query`, `key` and `value` [B, N, H * D] as projected, weights [H * D], caches [B, H, slots, D]
    contiguous. The call's first frame stands at `place` of `rotation`. Keys are stored turned if
    `rotate_key`, else raw. Frames that no write names are not stored. Raises ValueError for shapes
    that do not fit.
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
    if not (cache_key.is_contiguous() and cache_value.is_contiguous()):
        raise ValueError("caches must be contiguous")
    query, key, value = (x if x.stride(2) == 1 else x.contiguous() for x in (query, key, value))
    out = query.new_empty(batch, tokens, heads, dim)
    first, second, third = padded_writes(writes)
    with on_device(query):
        norm_rope_write_kernel[(tokens, batch)](
            query, key, value, weight_query, weight_key, out, cache_key, cache_value,
            rotation.cos, rotation.sin, eps, place,
            first.source, second.source, third.source, first.slot, second.slot, third.slot,
            first.frames, second.frames, third.frames,
            *query.stride()[:2], *key.stride()[:2], *value.stride()[:2], *out.stride()[:2],
            *cache_key.stride()[:2],
            HEADS=heads, BLOCK_H=triton.next_power_of_2(heads), DIM=dim,
            BLOCK_D=triton.next_power_of_2(dim), FRAME_TOKENS=frame_tokens,
            COLUMNS=rotation.columns, FRAME_PAIRS=rotation.frame_pairs,
            GRID_PAIRS=rotation.grid_pairs, ROTATE_KEY=rotate_key,
        )  # fmt: skip
    return out.transpose(1, 2)
