"""The noise of `reference`, drawn where it is needed: nothing is uploaded.

Bytes: one write of the noise. Three latents of Wan at 480x832 are 0.6 MB in bfloat16, which from a
CPU are a draw, a copy to pinned memory and a transfer for each step.
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
from .normal_table import quantiles

_tables: dict[torch.device, Tensor] = {}


@triton.jit
def normal(Table, word):
    """A normal number float32 of a word uint32, see `reference.normals_ref`."""
    odd = (word << 1) | 1
    octave = tl.full(word.shape, 31, tl.int32)
    for bits in tl.static_range(5):
        shift: tl.constexpr = 16 >> bits
        small = (odd >> (32 - shift)) == 0
        odd = tl.where(small, odd << shift, odd)
        octave = tl.where(small, octave - shift, octave)
    row = Table + 4 * (octave * 8 + ((odd >> 28) & 7).to(tl.int32))
    part = ((odd >> 4) & 0xFFFFFF).to(tl.int64)
    size = tl.load(row + 3).to(tl.int64)
    size = tl.load(row + 2).to(tl.int64) + ((part * size) >> 24)
    size = tl.load(row + 1).to(tl.int64) + ((part * size) >> 24)
    size = tl.load(row).to(tl.int64) + ((part * size) >> 24)
    made = size.to(tl.int32).to(tl.float32) * 3.725290298461914e-09  # 2^-28
    return tl.where((word >> 31) == 1, -made, made)


# They change with every chunk: a variant compiled for a 1 or a multiple of 16 would come late.
@triton.jit(do_not_specialize=["key", "stream", "count"])
def counter_noise_kernel(Out, Table, key, stream, count, BLOCK: tl.constexpr):
    """BLOCK counters, four numbers each."""
    counter = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    zero = counter * 0
    a, b, c, d = tl.philox(key, counter, zero, zero + stream, zero)
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
    launch(
        counter_noise_kernel, grid, out, out, _table(out.device), key, stream, count, BLOCK=block
    )
    return out


def _table(device: torch.device) -> Tensor:
    if device not in _tables:
        with torch.inference_mode(False):
            _tables[device] = torch.from_numpy(quantiles().copy()).to(device)
    return _tables[device]
