"""Means of blocks of keys and values: what blocks are scored by, and what those left out count by.

Bytes: one read of the blocks that changed, and a 64th or 128th of it written. A cache keeps the
means of its blocks, so that a call pools the blocks that it stored into and no others.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from ..gpu import on_gpu
from ..launch import launch
from ..ring_plan import MAX_SPANS, Span
from .block_list import blocks_of

# Of a head, in a program on a GPU: 64 bytes of a row in half precision.
_COLUMNS = 32


@dataclass(frozen=True, slots=True)
class BlockMeans:
    """Mean keys, and mean values or None, [B, Hkv, room, D] in the dtype of the keys.

    Of blocks of `block` tokens; the first ones are pooled, the rest is room for a longer window.
    """

    key: Tensor
    value: Tensor | None
    block: int

    @classmethod
    def empty(cls, like: Tensor, block: int, *, values: bool) -> BlockMeans:
        """Room for the blocks of keys `like` [B, Hkv, M, D]."""
        shape = (*like.shape[:2], blocks_of(like.shape[2], block), like.shape[3])
        return cls(like.new_zeros(shape), like.new_zeros(shape) if values else None, block)


# Counters change with every chunk: a variant compiled for a 1 or a multiple of 16 would come late.
@triton.jit(do_not_specialize=["keys", "room", "start0", "start1", "start2", "end0", "end1"])
def block_pool_kernel(
    Key, Value, MeanKey, MeanValue,
    keys, room, start0, start1, start2, end0, end1,
    key_b, key_h, key_n, value_b, value_h, value_n,
    HEADS: tl.constexpr, DIM: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
    VALUES: tl.constexpr,
):  # fmt: skip
    """BLOCK_C columns of one block of one head; programs before `end0` are of the first range."""
    program = tl.program_id(0)
    second = tl.where(program < end1, start1 - end0, start2 - end1)
    block = program + tl.where(program < end0, start0, second)
    batch = (tl.program_id(1) // HEADS).to(tl.int64)
    head = (tl.program_id(1) % HEADS).to(tl.int64)
    row = block * BLOCK_N + tl.arange(0, BLOCK_N)
    column = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = (row < keys)[:, None] & (column < DIM)[None, :]
    count = tl.minimum(keys - block * BLOCK_N, BLOCK_N).to(tl.float32)
    wide = row[:, None].to(tl.int64)
    mean_at = (tl.program_id(1).to(tl.int64) * room + block) * DIM + column
    key_at = batch * key_b + head * key_h + wide * key_n + column[None, :]
    key = tl.load(Key + key_at, mask=inside, other=0.0).to(tl.float32)
    mean = (tl.sum(key, 0) / count).to(MeanKey.dtype.element_ty)
    tl.store(MeanKey + mean_at, mean, mask=column < DIM)
    if VALUES:
        value_at = batch * value_b + head * value_h + wide * value_n + column[None, :]
        value = tl.load(Value + value_at, mask=inside, other=0.0).to(tl.float32)
        mean = (tl.sum(value, 0) / count).to(MeanValue.dtype.element_ty)
        tl.store(MeanValue + mean_at, mean, mask=column < DIM)


def pool_blocks(key: Tensor, value: Tensor, means: BlockMeans, spans: Sequence[Span]) -> None:
    """Pool the blocks that `spans`, at most three, of tokens touch, into their rows of `means`.

    `key` and `value` [B, Hkv, M, D], all of which count; the last block may be short. Raises
    ValueError for shapes that do not fit.
    """
    batch, heads, keys, dim = key.shape
    room = means.key.shape[2]
    if means.key.shape != (batch, heads, room, dim) or room < blocks_of(keys, means.block):
        raise ValueError(
            f"means {tuple(means.key.shape)} have no room for keys {tuple(key.shape)} in blocks "
            f"of {means.block}"
        )
    if key.stride(3) != 1 or value.stride(3) != 1 or value.shape != key.shape:
        raise ValueError("keys and values must have one shape, and contiguous rows")
    ranges = _ranges(spans, keys, means.block)
    ranges += [range(0)] * (MAX_SPANS - len(ranges))
    ends = len(ranges[0]), len(ranges[0]) + len(ranges[1])
    columns = _COLUMNS if on_gpu(key) else triton.next_power_of_2(dim)
    launch(
        block_pool_kernel,
        (sum(map(len, ranges)), batch * heads, triton.cdiv(dim, columns)), key,
        key, value, means.key, means.key if means.value is None else means.value,
        keys, room, *(part.start for part in ranges), *ends,
        *key.stride()[:3], *value.stride()[:3],
        HEADS=heads, DIM=dim, BLOCK_N=means.block, BLOCK_C=columns,
        VALUES=means.value is not None,
    )  # fmt: skip


def _ranges(spans: Sequence[Span], keys: int, block: int) -> list[range]:
    """The blocks that `spans` touch, each once. Raises ValueError for too many, or none."""
    found: list[range] = []
    for span in sorted(spans, key=lambda each: each.start):
        if span.tokens < 1 or span.start + span.tokens > keys:
            raise ValueError(f"spans {tuple(spans)} of {keys} keys")
        first, end = span.start // block, blocks_of(span.start + span.tokens, block)
        if found and first <= found[-1].stop:
            first = found.pop().start if first < found[-1].stop else first
        found.append(range(first, end))
    if not 1 <= len(found) <= MAX_SPANS:
        raise ValueError(f"got {len(spans)} spans; expected 1 to {MAX_SPANS}")
    return found
