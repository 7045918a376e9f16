"""Times of our kernels beside what torch has for the same, at the shapes of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...kernels.block_sparse.block_list import BlockList, blocks_of
from ...kernels.block_sparse.block_sparse import block_sparse
from ...kernels.block_sparse.sparse_policy import SparsePolicy
from ...kernels.dispatch import attention, modulate, sparse_attention, use_backend
from ...kernels.ema_sink.ema_sink import ema_sink
from ...kernels.key_rotation.key_rotation import rotate_keys
from ...kernels.norm_rope_write.norm_rope_write import norm_rope_write
from ...kernels.ring_plan import FrameWrite, SinkFold, Span
from ...models.student.blocks import RMSNorm
from ...models.student.rope import RopeTable, rotate
from .clock import Clock

_SETS = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """Frames of `rows` x `columns` tokens, `heads` heads of `dim`; three frames to a chunk."""

    rows: int = 30
    columns: int = 52
    heads: int = 12
    dim: int = 128
    text: int = 512
    dtype: torch.dtype = torch.bfloat16

    @property
    def tokens(self) -> int:
        """Tokens of a frame."""
        return self.rows * self.columns

    @property
    def width(self) -> int:
        """Of the model."""
        return self.heads * self.dim


Inputs = tuple[Tensor, Tensor, Tensor]


def raw_times(shape: Shape, clock: Clock) -> dict[str, Any]:
    """Attention to nine frames of raw keys that a kernel rotates first, or torch."""
    report: dict[str, Any] = {}
    for rows, chunk in ((max(1, shape.rows // 15), 1), (shape.rows, 1), (shape.rows, 3)):
        # Two rows are a small student's frame, about a block of queries.
        part = replace(shape, rows=rows)
        queries, keys = chunk * part.tokens, 9 * part.tokens
        rope = RopeTable(part.dim, part.rows, part.columns, device=clock.device)
        axes = rope.axes(range(9))
        table = rope.rotations((0, 1, 2, 6, 7, 8, 3, 4, 5))
        # A sink of three, and a window of six that has wrapped.
        thirds = zip((0, 3, 6), (0, 6, 3), strict=True)
        spans = tuple(Span(slot * part.tokens, 3 * part.tokens, place) for slot, place in thirds)
        inputs = drawn_inputs(part, clock, queries, keys)
        ways: dict[str, Callable[[Tensor, Tensor, Tensor], object]] = {
            "by_kernel": partial(
                _rotated_before, lambda key, s=spans, a=axes: rotate_keys(key, s, a)
            ),
            "by_torch": partial(_rotated_before, lambda key, t=table: rotate(key, t)),
        }
        row: dict[str, Any] = clock.race(
            {name: [partial(way, *each) for each in inputs] for name, way in ways.items()}
        )
        alone = clock.race(
            {
                "kernel": [partial(rotate_keys, key, spans, axes) for _, key, _ in inputs],
                "torch": [partial(rotate, key, table) for _, key, _ in inputs],
            }
        )
        moved = 2 * _bytes(inputs[0][1])
        row["pass_alone"] = {name: rated(times, moved=moved) for name, times in alone.items()}
        report[f"{queries} x {keys}"] = row
    return report


def _rotated_before(
    rotate: Callable[[Tensor], Tensor], query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    return attention(query, rotate(key), value)


def sparse_times(shape: Shape, clock: Clock) -> dict[str, Any]:
    """A chunk's queries to twelve frames: given lists, and with the choice and the means."""
    queries, keys = 3 * shape.tokens, 12 * shape.tokens
    inputs = drawn_inputs(shape, clock, queries, keys)
    size = (1, shape.heads, blocks_of(queries, 128), blocks_of(keys, 64))
    report: dict[str, Any] = {"queries": queries, "keys": keys}
    for density in (0.5, 0.25, 0.1):
        lists = [
            BlockList.from_mask(torch.rand(size, device=clock.device) < density, 128, 64)
            for _ in inputs
        ]
        given = [
            partial(block_sparse, *each, listed) for each, listed in zip(inputs, lists, strict=True)
        ]
        plain, whole = (
            SparsePolicy("top_k", max_density=density, global_branch=branch)
            for branch in (False, True)
        )
        report[str(density)] = clock.race(
            {
                "dense": [partial(attention, *each) for each in inputs],
                "given_list": given,
                "chosen": [partial(sparse_attention, *each, plain) for each in inputs],
                "chosen_and_means": [partial(sparse_attention, *each, whole) for each in inputs],
            }
        )
    return report


def pass_times(shape: Shape, clock: Clock) -> dict[str, Any]:
    """The passes over tokens, by kernel and by torch."""
    return {
        "modulate": _modulate_times(shape, clock),
        "norm_rope_write": _write_times(shape, clock),
        "ema_sink": _ema_times(shape, clock),
    }


def _modulate_times(shape: Shape, clock: Clock) -> dict[str, Any]:
    drawn = partial(_drawn, shape, clock)
    inputs = [(drawn(3 * shape.tokens, shape.width), drawn(3, 1, shape.width)) for _ in range(8)]
    moved = 2 * _bytes(inputs[0][0])
    report: dict[str, Any] = {}
    for name, backend in (("triton", nullcontext()), ("torch", use_backend("sdpa"))):
        with backend:
            times = clock.spread([partial(modulate, x, y, y, 1e-6) for x, y in inputs])
        report[name] = rated(times, moved=moved)
    return report


def _write_times(shape: Shape, clock: Clock) -> dict[str, Any]:
    tokens, frames = 3 * shape.tokens, 9
    rope = RopeTable(shape.dim, shape.rows, shape.columns, device=clock.device)
    axes, table = rope.axes(range(frames)), rope.rotations(range(3, 6))
    norm = RMSNorm(shape.width, 1e-6).to(clock.device, shape.dtype)
    writes = (FrameWrite(0, 3, 3),)
    slots = slice(tokens, 2 * tokens)
    sets = [
        (
            [_drawn(shape, clock, tokens, shape.width) for _ in range(3)],
            [_drawn(shape, clock, shape.heads, frames * shape.tokens, shape.dim) for _ in range(2)],
        )
        for _ in range(_SETS)
    ]

    def fused(projected: Sequence[Tensor], caches: Sequence[Tensor]) -> object:
        return norm_rope_write(
            projected[0], projected[1], projected[2], norm.weight, norm.weight, *caches,
            rotation=axes, place=3, writes=writes, rotate_key=True, eps=1e-6,
        )  # fmt: skip

    def apart(projected: Sequence[Tensor], caches: Sequence[Tensor]) -> object:
        query, key, value = (
            x.unflatten(2, (shape.heads, -1)).transpose(1, 2)
            for x in (norm(projected[0]), norm(projected[1]), projected[2])
        )
        caches[0][:, :, slots] = rotate(key, table)
        caches[1][:, :, slots] = value
        return rotate(query, table)

    moved = 6 * _bytes(sets[0][0][0])
    return {
        "triton": rated(clock.spread([partial(fused, *each) for each in sets]), moved=moved),
        "torch": rated(clock.spread([partial(apart, *each) for each in sets]), moved=moved),
    }


def _ema_times(shape: Shape, clock: Clock) -> dict[str, Any]:
    """Three frames leave a window of six for a sink of three, in place and with a shadow."""
    tokens = shape.tokens
    fold = SinkFold(3, 6, frames=3, gone=0, place=0, alpha=0.999)
    sets = [
        [_drawn(shape, clock, shape.heads, 9 * tokens, shape.dim) for _ in range(2)]
        for _ in range(_SETS)
    ]
    sinks = [
        torch.randn(1, shape.heads, 3 * tokens, shape.dim, device=clock.device) for _ in range(2)
    ]
    report: dict[str, Any] = {}

    def call(caches: Sequence[Tensor], key: Tensor | None, value: Tensor | None) -> None:
        none = caches[0][:, :, :0]
        ema_sink(
            caches[0], caches[1], none, none, fold=fold, writes=(), frame_tokens=tokens,
            shadow_key=key, shadow_value=value,
        )  # fmt: skip

    # Keys and values of three frames: leaving and sink read, sink written; a shadow instead is
    # float32, and the sink is written beside it.
    half = 2 * 3 * tokens * shape.width * sets[0][0].element_size()
    in_place = clock.spread([partial(call, each, None, None) for each in sets])
    report["in_place"] = rated(in_place, moved=3 * half)
    shadowed = clock.spread([partial(call, each, *sinks) for each in sets])
    report["shadow"] = rated(shadowed, moved=2 * half + 2 * sum(map(_bytes, sinks)))
    return report


def drawn_inputs(shape: Shape, clock: Clock, queries: int, keys: int) -> list[Inputs]:
    """Queries lie as the kernel before leaves them, token by token; keys as in a cache."""
    made: list[Inputs] = []
    for _ in range(_SETS):
        query = _drawn(shape, clock, queries, shape.heads, shape.dim).transpose(1, 2)
        key, value = (_drawn(shape, clock, shape.heads, keys, shape.dim) for _ in range(2))
        made.append((query, key, value))
    return made


def _drawn(shape: Shape, clock: Clock, *size: int) -> Tensor:
    return torch.randn(1, *size, device=clock.device).to(shape.dtype)


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def rated(times: dict[str, float], *, flops: int = 0, moved: int = 0) -> dict[str, Any]:
    """The times, and TFLOP or GB a second at the median."""
    rated: dict[str, Any] = {"ms": times}
    if flops:
        rated["tflops"] = flops / times["median"] / 1e9
    if moved:
        rated["gb_per_s"] = moved / times["median"] / 1e6
    return rated
