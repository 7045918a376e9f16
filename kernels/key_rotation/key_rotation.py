"""Raw keys of a ring cache rotated by their place in time, for attention to keys as they lie.

Bytes: one read and one write, where torch's operations on complex numbers read and write three
times in float32. Rotating inside of attention would save them, but does the work again for every
block of queries: on an H100 that took many times as long (docs/kernels.md).
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
from ..ring_plan import Span, padded_spans
from ..tile.rope_tile import rotate_pairs, rotations_at


# Counters change with every chunk: a variant compiled for a 1 or a multiple of 16 would come late.
@triton.jit(do_not_specialize=["slots", "end0", "end1", "shift0", "shift1", "shift2"])
def key_rotation_kernel(
    Key, Out, Cos, Sin,
    slots, end0, end1, shift0, shift1, shift2,
    key_b, key_h, key_n, out_b, out_h, out_n,
    HEADS: tl.constexpr, DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_T: tl.constexpr,
    FRAME_TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
    FRAME_PAIRS: tl.constexpr, GRID_PAIRS: tl.constexpr,
):  # fmt: skip
    """BLOCK_T slots of one head."""
    batch = (tl.program_id(1) // HEADS).to(tl.int64)
    head = (tl.program_id(1) % HEADS).to(tl.int64)
    slot = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    column = tl.arange(0, BLOCK_D)[None, :]
    inside = (slot < slots)[:, None] & (column < DIM)
    # slot + shift is place * FRAME_TOKENS + token in frame.
    position = slot + tl.where(slot < end0, shift0, tl.where(slot < end1, shift1, shift2))
    cos, sin = rotations_at(Cos, Sin, position, slot < slots, FRAME_TOKENS, COLUMNS, FRAME_PAIRS,
                            GRID_PAIRS, BLOCK_D // 2)  # fmt: skip
    row = slot[:, None].to(tl.int64)
    key = tl.load(Key + batch * key_b + head * key_h + row * key_n + column, mask=inside, other=0.0)
    rotated = rotate_pairs(key, cos, sin, BLOCK_T, BLOCK_D)
    out_at = batch * out_b + head * out_h + row * out_n + column
    tl.store(Out + out_at, rotated.to(Out.dtype.element_ty), mask=inside)


def rotate_keys(
    key: Tensor, spans: Sequence[Span], rotation: AxisRotations, *, out: Tensor | None = None
) -> Tensor:
    """`key` [B, H, M, D] with every slot rotated by its place in time: `out`, or contiguous.

    `spans`, at most three, cover all slots one behind another, in whole frames. Raises ValueError
    for shapes that do not fit.
    """
    batch, heads, slots, dim = key.shape
    tokens, first = rotation.frame_tokens, 0
    for span in spans:
        if span.start != first or span.tokens % tokens:
            raise ValueError(f"spans {tuple(spans)} do not follow each other in whole frames")
        if not 0 <= span.place <= rotation.places - span.tokens // tokens:
            raise ValueError(
                f"spans {tuple(spans)} leave the {rotation.places} places of the tables"
            )
        first += span.tokens
    if first != slots or rotation.head_dim != dim:
        raise ValueError(
            f"keys {tuple(key.shape)}, spans of {first} slots and rotations for heads of "
            f"{rotation.head_dim} do not fit"
        )
    key = key if key.stride(3) == 1 else key.contiguous()
    if out is None:
        out = key.new_empty(key.shape)
    elif out.shape != key.shape or out.stride(3) != 1:
        raise ValueError(f"out {tuple(out.shape)}; expected {tuple(key.shape)}, rows contiguous")
    parts = padded_spans(spans)
    shifts = [part.place * tokens - part.start for part in parts]
    block_t = 32 if on_gpu(key) else 256
    launch(
        key_rotation_kernel, (triton.cdiv(slots, block_t), batch * heads), key,
        key, out, rotation.cos, rotation.sin,
        slots, parts[0].tokens, parts[0].tokens + parts[1].tokens, *shifts,
        *key.stride()[:3], *out.stride()[:3],
        HEADS=heads, DIM=dim, BLOCK_D=triton.next_power_of_2(dim), BLOCK_T=block_t,
        FRAME_TOKENS=tokens, COLUMNS=rotation.columns,
        FRAME_PAIRS=rotation.frame_pairs, GRID_PAIRS=rotation.grid_pairs,
    )  # fmt: skip
    return out
