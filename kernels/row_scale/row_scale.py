"""Rows of activations in float8, each with a scale of its own, in one pass over them.

Bytes, for N rows of width d in bfloat16: one read and half a write, 3 N d. As operations of torch
it is a copy to float32, its absolute value, the greatest, a quotient and a copy to float8: 27 N d.
With GELU that of a feed-forward layer, which has no epilogue of its product to be in, is made on
the way.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# pyright: reportArgumentType=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..gpu import on_gpu
from ..launch import launch
from .reference import E4M3, E4M3_MOST, SMALLEST

_WIDE = 4096


@triton.jit
def gelu_tanh(x):
    """The tanh form of GELU, float32."""
    twice = 1.5957691216057308 * (x + 0.044715 * x * x * x)
    # a power that cannot overflow, whatever the sign
    power = tl.exp(-tl.abs(twice))
    return x * tl.where(twice < 0.0, power, 1.0) / (1.0 + power)


@triton.jit
def nearest_e4m3(x):
    """`x` (float32, at most 448 in size) rounded to what float8 e4m3 has, ties to even."""
    bits = x.to(tl.int32, bitcast=True)
    rounded = (bits + 0x7FFFF + ((bits >> 20) & 1)) & -0x100000
    # Below 2 ** -6 steps are of 2 ** -9: adding and taking away rounds to them.
    small = (x + 24576.0) - 24576.0
    return tl.where(tl.abs(x) < 0.015625, small, rounded.to(tl.float32, bitcast=True))


@triton.jit(do_not_specialize=["rows"])
def row_scale_kernel(
    X, Out, Scale,
    rows, x_n,
    WIDTH: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_T: tl.constexpr, MOST: tl.constexpr,
    SMALLEST: tl.constexpr, GELU: tl.constexpr,
):  # fmt: skip
    """BLOCK_T rows."""
    row = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)[:, None]
    column = tl.arange(0, BLOCK_W)[None, :]
    inside = (row < rows) & (column < WIDTH)
    wide = row.to(tl.int64)
    x = tl.load(X + wide * x_n + column, mask=inside, other=0.0).to(tl.float32)
    if GELU:
        x = gelu_tanh(x)
    highest = tl.maximum(tl.max(tl.abs(x), 1), SMALLEST)
    scale = tl.math.div_rn(highest, MOST)
    small = nearest_e4m3(tl.math.div_rn(x, tl.broadcast_to(scale[:, None], x.shape)))
    tl.store(Out + wide * WIDTH + column, small.to(Out.dtype.element_ty), mask=inside)
    tl.store(Scale + wide, scale[:, None], mask=row < rows)


def quantise_rows(x: Tensor, *, gelu: bool = False) -> tuple[Tensor, Tensor]:
    """As `quantise_rows_ref`: `x` [N, K], of any strides but the last, in float8; scales [N, 1].

    Raises ValueError for other shapes.
    """
    if x.dim() != 2:
        raise ValueError(f"x {tuple(x.shape)}; expected [N, K]")
    x = x if x.stride(1) == 1 else x.contiguous()
    rows, width = x.shape
    out = x.new_empty(rows, width, dtype=E4M3)
    scale = x.new_empty(rows, 1, dtype=torch.float32)
    block_t = 1 if on_gpu(x) else 64
    launch(
        row_scale_kernel, (triton.cdiv(rows, block_t),), x,
        x, out, scale, rows, x.stride(0),
        WIDTH=width, BLOCK_W=triton.next_power_of_2(width), BLOCK_T=block_t,
        MOST=E4M3_MOST, SMALLEST=SMALLEST, GELU=gelu, num_warps=8 if width > _WIDE else 4,
    )  # fmt: skip
    return out, scale
