"""Unit length over channels, times a weight, and SiLU, in one pass: before a convolution.

Bytes, for N values in bfloat16: as operations of torch a norm, a quotient, two products, SiLU and
the copy behind the frames before, 24 N; here one read and one write, 4 N.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# pyright: reportArgumentType=false

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch
from .reference import LEAST

_TILE = 4096
_LEAST = tl.constexpr(LEAST)


@triton.jit
def normed_silu(x, weight, CHANNELS: tl.constexpr):
    """Of pixels [P, C] in float32, and a weight [1, C]."""
    length = tl.maximum(tl.sqrt(tl.sum(x * x, 1)), _LEAST)
    normed = x / length[:, None] * (CHANNELS**0.5) * weight
    return normed * tl.sigmoid(normed)


@triton.jit(do_not_specialize=["pixels"])
def norm_silu_kernel(
    X, Weight, Out,
    pixels,
    x_b, x_c, x_t, x_p, out_b, out_c, out_t, out_p,
    CHANNELS: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """BLOCK_P pixels of a frame, with all their channels."""
    batch, frame = tl.program_id(2).to(tl.int64), tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[:, None]
    channel = tl.arange(0, BLOCK_C)[None, :]
    inside = (pixel < pixels) & (channel < CHANNELS)
    at, c = pixel.to(tl.int64), channel.to(tl.int64)
    place = batch * x_b + frame * x_t + at * x_p + c * x_c
    x = tl.load(X + place, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(Weight + channel, mask=channel < CHANNELS, other=0.0).to(tl.float32)
    made = normed_silu(x, weight, CHANNELS)
    place = batch * out_b + frame * out_t + at * out_p + c * out_c
    tl.store(Out + place, made.to(Out.dtype.element_ty), mask=inside)


def norm_silu(x: Tensor, weight: Tensor, out: Tensor) -> None:
    """`out` is SiLU of x / |x| * sqrt(C) * weight, the length being that over channels.

    `x` and `out` [B, C, T, h, w] in whatever layout has pixels one behind the other, `out` of the
    frames of a longer tensor, say; `weight` of C values. Raises ValueError for shapes that do not
    fit.
    """
    check_shapes(x, weight, out)
    x = x if has_pixels_in_a_row(x) else x.contiguous()
    batch, channels, frames, rows, columns = x.shape
    block_c, block_p = pixels_at_once(channels)
    launch(
        norm_silu_kernel, (triton.cdiv(rows * columns, block_p), frames, batch), x,
        x, weight, out, rows * columns,
        *x.stride()[:3], x.stride(4), *out.stride()[:3], out.stride(4),
        CHANNELS=channels, BLOCK_C=block_c, BLOCK_P=block_p,
    )  # fmt: skip


def check_shapes(x: Tensor, weight: Tensor, out: Tensor) -> None:
    """Raise ValueError for what `norm_silu` does not take."""
    if x.dim() != 5 or out.shape != x.shape or weight.numel() != x.shape[1]:
        raise ValueError(
            f"x {tuple(x.shape)}, out {tuple(out.shape)} and a weight of {weight.numel()} values; "
            "expected [B, C, T, h, w] twice and C"
        )
    if not has_pixels_in_a_row(out):
        raise ValueError(f"out has strides {out.stride()}: its pixels are not in a row")


def has_pixels_in_a_row(x: Tensor) -> bool:
    """Whether rows of `x` [B, C, T, h, w] lie one behind the other."""
    return x.stride(3) == x.shape[4] * x.stride(4)


def pixels_at_once(channels: int) -> tuple[int, int]:
    """Channels and pixels of a block."""
    block_c = int(triton.next_power_of_2(channels))
    return block_c, max(1, _TILE // block_c)
