"""Frames of a decoder as planar YUV420 of limited-range BT.601, in one pass.

Bytes, for T frames of N pixels in bfloat16: 6 T N read (the rows beside a pair are in the caches)
and 1.5 T N written, and as many copied to the host, where RGB is 3 T N.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# pyright: reportArgumentType=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch
from .reference import BLUE, CHROMA, GREEN, LUMA, RED, ROWS

_BLOCK = 128
_RED, _GREEN, _BLUE = tl.constexpr(RED), tl.constexpr(GREEN), tl.constexpr(BLUE)
_LUMA = tl.constexpr(LUMA)
_OUTER, _INNER = tl.constexpr(ROWS[0]), tl.constexpr(ROWS[1])
# A difference of colours is the sum of two columns, and counts half.
_OF_BLUE = tl.constexpr(CHROMA / (4 * (1 - BLUE)))
_OF_RED = tl.constexpr(CHROMA / (4 * (1 - RED)))


@triton.jit
def _level(X, at, inside):
    """The level, 0 to 255, of what is about -1 to 1; of what is no number black."""
    x = tl.load(X + at, mask=inside, other=0.0).to(tl.float32)
    x = tl.where(x == x, x, -1.0)
    return tl.minimum(tl.maximum(tl.floor((x + 1.0) * 127.5 + 0.5), 0.0), 255.0)


@triton.jit
def yuv420_kernel(
    X, Out,
    height, width,
    x_t, x_c, x_h, x_w, out_t, out_h,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK pairs of columns of two rows of a frame: four planes' worth of one row of chroma."""
    frame = tl.program_id(2).to(tl.int64)
    pair = tl.program_id(1)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = (width + 1) // 2
    inside = column < columns
    out = Out + frame * out_t
    u = tl.zeros([BLOCK], tl.float32)
    v = tl.zeros([BLOCK], tl.float32)
    for row in tl.static_range(4):
        line = tl.minimum(tl.maximum(2 * pair + row - 1, 0), height - 1)
        weight = _INNER if row == 1 or row == 2 else _OUTER
        for side in tl.static_range(2):
            place = tl.minimum(2 * column + side, width - 1).to(tl.int64)
            at = frame * x_t + line.to(tl.int64) * x_h + place * x_w
            red = _level(X, at, inside)
            green = _level(X, at + x_c, inside)
            blue = _level(X, at + 2 * x_c, inside)
            luma = red * _RED + green * _GREEN + blue * _BLUE
            u += (blue - luma) * weight
            v += (red - luma) * weight
            if row == 1 or row == 2:
                told = (luma * _LUMA + 16.5).to(tl.uint8)
                tl.store(out + (2 * pair + row - 1) * out_h + 2 * column + side, told, mask=inside)
    rows = (height + 1) // 2
    chroma = out + 2 * rows * out_h + pair * columns + column
    tl.store(chroma, (u * _OF_BLUE + 128.5).to(tl.uint8), mask=inside)
    chroma += rows * columns
    tl.store(chroma, (v * _OF_RED + 128.5).to(tl.uint8), mask=inside)


def yuv420(frames: Tensor) -> Tensor:
    """uint8 [T, 3 H / 2, W] of `frames` [T, 3, H, W], red, green, blue of about -1 to 1.

    The planes of each frame lie behind each other as in ffmpeg's yuv420p: H rows of W bytes of
    luma, then the two of chroma, each half as high and wide. An odd side becomes even by repeating
    its edge.
    """
    count, _, height, width = frames.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    out = frames.new_empty(count, 3 * rows, 2 * columns, dtype=torch.uint8)
    launch(
        yuv420_kernel, (triton.cdiv(columns, _BLOCK), rows, count), frames,
        frames, out, height, width, *frames.stride(), *out.stride()[:2],
        BLOCK=_BLOCK,
    )  # fmt: skip
    return out
