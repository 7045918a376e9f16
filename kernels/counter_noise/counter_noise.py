"""The noise of `reference`, drawn where it is needed: nothing is uploaded.

Bytes: one write of the noise. Three latents of Wan at 480x832 are 0.6 MB in bfloat16, which from a
CPU are a draw, a copy to pinned memory and a transfer for each step.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# Its stubs also say that a call of a kernel never returns.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..gpu import on_gpu
from ..launch import launch
from .normal_table import quantiles

_tables: dict[torch.device, Tensor] = {}


@triton.jit
def raised(odd, octave, BITS: tl.constexpr):
    """`odd` BITS higher where that many of its first bits are zeros, which the octave counts."""
    small = (odd >> (32 - BITS)) == 0
    return tl.where(small, odd << BITS, odd), tl.where(small, octave - BITS, octave)


@triton.jit
def normal(Table, word):
    """A normal number float32 of a word uint32, see `reference.normals_ref`."""
    odd = (word << 1) | 1
    octave = tl.full(word.shape, 31, tl.int32)
    odd, octave = raised(odd, octave, 16)
    odd, octave = raised(odd, octave, 8)
    odd, octave = raised(odd, octave, 4)
    odd, octave = raised(odd, octave, 2)
    odd, octave = raised(odd, octave, 1)
    row = Table + 4 * (octave * 8 + ((odd >> 28) & 7).to(tl.int32))
    part = ((odd >> 4) & 0xFFFFFF).to(tl.int64)
    size = tl.load(row + 3).to(tl.int64)
    size = tl.load(row + 2).to(tl.int64) + ((part * size) >> 24)
    size = tl.load(row + 1).to(tl.int64) + ((part * size) >> 24)
    size = tl.load(row).to(tl.int64) + ((part * size) >> 24)
    made = size.to(tl.int32).to(tl.float32) * 3.725290298461914e-09  # 2^-28
    return tl.where((word >> 31) == 1, -made, made)


# They change with every chunk: a variant compiled for a 1 or a multiple of 16 would come late.
@triton.jit(do_not_specialize=["key_low", "key_high", "stream", "count"])
def counter_noise_kernel(
    Out, Table, key_low, key_high, stream, count, BLOCK: tl.constexpr
):  # fmt: skip
    """BLOCK counters, four numbers each."""
    counter = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    zero = (counter * 0).to(tl.uint32)
    a, b, c, d = tl.philox_impl(
        counter.to(tl.uint32), zero, zero + stream.to(tl.uint32), zero,
        zero + key_low.to(tl.uint32), zero + key_high.to(tl.uint32), 10,
    )  # fmt: skip
    at = counter * 4
    tl.store(Out + at, normal(Table, a).to(Out.dtype.element_ty), mask=at < count)
    tl.store(Out + at + 1, normal(Table, b).to(Out.dtype.element_ty), mask=at + 1 < count)
    tl.store(Out + at + 2, normal(Table, c).to(Out.dtype.element_ty), mask=at + 2 < count)
    tl.store(Out + at + 3, normal(Table, d).to(Out.dtype.element_ty), mask=at + 3 < count)


def counter_noise(key: int, stream: int, out: Tensor) -> Tensor:
    """Fill `out`, contiguous, with normal noise; stream `stream` of 32 bits under `key` of 63.

    Raises ValueError for more numbers than counters of 32 bits give.
    """
    count = out.numel()
    if not out.is_contiguous() or count >= 2**31:
        raise ValueError(
            f"noise for {tuple(out.shape)}, strides {out.stride()}; expected contiguous"
        )
    block = 256 if on_gpu(out) else 1024
    grid = (triton.cdiv(count, 4 * block),)
    low, high = (_signed(part) for part in (key & 0xFFFFFFFF, key >> 32))
    launch(
        counter_noise_kernel, grid, out,
        out, _table(out.device), low, high, stream, count, BLOCK=block,
    )  # fmt: skip
    return out


def _signed(word: int) -> int:
    """The same 32 bits as a signed number: an argument's type follows from its value."""
    return word - (word >> 31 << 32)


def _table(device: torch.device) -> Tensor:
    if device not in _tables:
        with torch.inference_mode(False):
            _tables[device] = torch.from_numpy(quantiles().copy()).to(device)
    return _tables[device]
