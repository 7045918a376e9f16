"""Loads a tile of keys or values, by pointers or by a descriptor (TMA)."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_rows(
    Source,
    head_offset,
    stride,
    first_row,
    start,
    live,
    MASKED: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Rows `start`.. of one head, [BLOCK_N, BLOCK_D], zeros past DIM.

    By pointers from `Source` + `head_offset`, or by a descriptor over all heads' rows, of which
    `first_row` is this head's first. With MASKED, rows that are not `live` are zero by pointers and
    whatever lies there by descriptor.
    """
    if DESCRIPTORS:
        tile = Source.load([first_row + start, 0])
    else:
        row = tl.arange(0, BLOCK_N)[:, None]
        column = tl.arange(0, BLOCK_D)[None, :]
        pointers = Source + head_offset + tl.cast(start, tl.int64) * stride + row * stride + column
        if MASKED:
            tile = tl.load(pointers, mask=live[:, None] & (column < DIM), other=0.0)
        elif DIM != BLOCK_D:
            tile = tl.load(pointers, mask=column < DIM, other=0.0)
        else:
            tile = tl.load(pointers)
    return tile
