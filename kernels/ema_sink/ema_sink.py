"""EMA-Sink (Reward Forcing, arXiv 2512.04678): evict, blend and write in one kernel, nothing moved.

A frame that leaves the window is averaged into the sink, then the frames of the call take their
slots. As separate operations that is, for every evicted frame and for keys and values each, two
scaled copies, a sum and a store (9 passes over a frame) and a copy for each new one; here the
evicted frame and the sink are read once and the sink is written once (3 passes; 5 with a shadow).
The published code also shifts the whole window, which a ring does not do.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from ..gpu import on_gpu
from ..launch import launch
from ..ring_plan import FrameWrite, SinkFold, padded_writes


@triton.jit
def blend_frame(Cache, Shadow, sink, gone, shadow, alpha, beta, inside, SHADOW: tl.constexpr):
    """sink = alpha sink + beta gone in float32, at these offsets; the shadow keeps it unrounded."""
    leaving = tl.load(Cache + gone, mask=inside, other=0.0).to(tl.float32)
    if SHADOW:
        kept = tl.load(Shadow + shadow, mask=inside, other=0.0)
    else:
        kept = tl.load(Cache + sink, mask=inside, other=0.0).to(tl.float32)
    mean = alpha * kept + beta * leaving
    if SHADOW:
        tl.store(Shadow + shadow, mean, mask=inside)
    tl.store(Cache + sink, mean.to(Cache.dtype.element_ty), mask=inside)


@triton.jit
def write_frame(New, Cache, Shadow, source, slot, shadow, inside, in_sink, SHADOW: tl.constexpr):
    """One frame's tokens into the cache, and into the shadow if the slot is the sink's."""
    new = tl.load(New + source, mask=inside, other=0.0)
    tl.store(Cache + slot, new, mask=inside)
    if SHADOW:
        tl.store(Shadow + shadow, new.to(tl.float32), mask=inside & in_sink)


# Counters change with every chunk: a variant compiled for a 1 or a multiple of 16 would come late.
@triton.jit(
    do_not_specialize=[
        "folds", "gone", "place", "sinks", "window",
        "source0", "source1", "source2", "slot0", "slot1", "slot2",
        "frames0", "frames1", "frames2",
    ]
)  # fmt: skip
def ema_sink_kernel(
    Key, Value, ShadowKey, ShadowValue, NewKey, NewValue,
    alpha, beta, folds, gone, place, sinks, window,
    source0, source1, source2, slot0, slot1, slot2, frames0, frames1, frames2,
    cache_b, cache_h, shadow_b, shadow_h,
    key_b, key_h, key_n, value_b, value_h, value_n,
    HEADS: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_T: tl.constexpr,
    FRAME_TOKENS: tl.constexpr, SHADOW: tl.constexpr,
):  # fmt: skip
    """The same tokens of every frame of one head: one program, so that folds keep their order."""
    batch = (tl.program_id(1) // HEADS).to(tl.int64)
    head = (tl.program_id(1) % HEADS).to(tl.int64)
    token = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)[:, None]
    column = tl.arange(0, BLOCK_D)[None, :]
    inside = (token < FRAME_TOKENS) & (column < DIM)
    cache = batch * cache_b + head * cache_h + column
    shadow = batch * shadow_b + head * shadow_h + column
    for index in range(folds):
        leaves = (sinks + (gone + index) % window) * FRAME_TOKENS + token
        stays = (place + index) % sinks * FRAME_TOKENS + token
        from_slot = cache + leaves.to(tl.int64) * DIM
        to_slot = cache + stays.to(tl.int64) * DIM
        shadowed = shadow + stays.to(tl.int64) * DIM
        blend_frame(Key, ShadowKey, to_slot, from_slot, shadowed, alpha, beta, inside, SHADOW)
        blend_frame(Value, ShadowValue, to_slot, from_slot, shadowed, alpha, beta, inside, SHADOW)
        # The next fold, or a write, may touch the same slot, and by another layout of threads.
        tl.debug_barrier()
    new_key = batch * key_b + head * key_h + column
    new_value = batch * value_b + head * value_h + column
    for index in range(frames0 + frames1 + frames2):
        first = index < frames0
        second = index < frames0 + frames1
        from1 = index - frames0
        from2 = from1 - frames1
        source = tl.where(
            first, source0 + index, tl.where(second, source1 + from1, source2 + from2)
        )
        slot = tl.where(first, slot0 + index, tl.where(second, slot1 + from1, slot2 + from2))
        row = (source * FRAME_TOKENS + token).to(tl.int64)
        at = (slot * FRAME_TOKENS + token).to(tl.int64) * DIM
        in_sink = slot < sinks
        write_frame(NewKey, Key, ShadowKey, new_key + row * key_n, cache + at, shadow + at,
                    inside, in_sink, SHADOW)  # fmt: skip
        write_frame(NewValue, Value, ShadowValue, new_value + row * value_n, cache + at,
                    shadow + at, inside, in_sink, SHADOW)  # fmt: skip


def ema_sink(
    key: Tensor,
    value: Tensor,
    new_key: Tensor,
    new_value: Tensor,
    *,
    fold: SinkFold,
    writes: Sequence[FrameWrite],
    frame_tokens: int,
    shadow_key: Tensor | None = None,
    shadow_value: Tensor | None = None,
) -> None:
    """Average the frames about to be overwritten into the sink, then write the new ones; in place.

    `key` and `value` [B, H, slots, D] contiguous, `new_key` and `new_value` [B, H, N, D] of the
    call. The mean is made in float32; the float32 shadows [B, H, sink slots, D], both or none, keep
    it unrounded, and frames written to the sink go there as well. Raises ValueError if caches are
    not contiguous or shadows do not fit.
    """
    batch, heads, _, dim = key.shape
    shadow = key if shadow_key is None else shadow_key
    shadow_of_value = value if shadow_value is None else shadow_value
    sink_shape = (batch, heads, fold.sink_frames * frame_tokens, dim)
    if not (key.is_contiguous() and value.is_contiguous() and shadow.is_contiguous()):
        raise ValueError("caches and shadows must be contiguous")
    if (shadow_key is None) != (shadow_value is None):
        raise ValueError("give a shadow of keys and one of values, or none")
    if shadow_key is not None and shadow_key.shape != sink_shape:
        raise ValueError(f"a shadow of {tuple(shadow_key.shape)}; expected {sink_shape}")
    first, second, third = padded_writes(writes)
    block_t = 16 if on_gpu(key) else triton.next_power_of_2(frame_tokens)
    launch(
        ema_sink_kernel, (triton.cdiv(frame_tokens, block_t), batch * heads), key,
        key, value, shadow, shadow_of_value, new_key, new_value,
        fold.alpha, 1.0 - fold.alpha, fold.frames, fold.gone, fold.place,
        fold.sink_frames, fold.window_frames,
        first.source, second.source, third.source, first.slot, second.slot, third.slot,
        first.frames, second.frames, third.frames,
        *key.stride()[:2], *shadow.stride()[:2],
        *new_key.stride()[:3], *new_value.stride()[:3],
        HEADS=heads, DIM=dim, BLOCK_D=triton.next_power_of_2(dim), BLOCK_T=block_t,
        FRAME_TOKENS=frame_tokens, SHADOW=shadow_key is not None,
    )  # fmt: skip
