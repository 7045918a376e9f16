"""Where the tokens of a call stand: rotations for queries and keys, in both families of caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.axis_rotations import AxisRotations
from ...kernels.block_sparse.choose_blocks import TokenPlaces, sliding_tiles
from ...kernels.block_sparse.gilbert import gilbert_order
from ...kernels.dispatch import backend_for
from ...kernels.ring_plan import Span, spans_of
from .config import CacheConfig, RopeFamily
from .frame_ring import RingWrite
from .rope import RopeTable
from .token_sink import SinkPlaces


@dataclass(frozen=True, slots=True)
class CachedCall:
    """Positions of one call of the student, the same for every layer.

    `query` rotates the queries [N, D / 2]. `write` rotates the first keys of the call before they
    are stored and `read` the first stored keys before they are used; None: as they are.
    `write_from` is the first token of the call that `write` rotates. `sink` rotates the keys of a
    sink of tokens. `rotations`, instead of `read`: kernels rotate these spans of stored keys.
    `tables`: the call's rotations once more, and the place of its first frame in them, where one
    kernel may norm, rotate and store. `near`: the blocks that sliding tiles choose.
    """

    ring: RingWrite
    tokens_per_frame: int
    query: Tensor
    write: Tensor | None
    write_from: int
    read: Tensor | None
    sink: Tensor | None = None
    rotations: tuple[tuple[Span, ...], AxisRotations] | None = None
    tables: tuple[AxisRotations, int] | None = None
    near: Tensor | None = None


class CallPositions:
    """Makes a `CachedCall` of what a ring did; keeps tables for the other calls of a chunk.

    `like` is a cache, for its device. With a sparse policy the tokens of a frame stand in
    `token_order`, otherwise (None) as they come.
    """

    def __init__(
        self,
        config: CacheConfig,
        rope: RopeTable,
        family: RopeFamily,
        places: SinkPlaces | None,
        like: Tensor,
    ) -> None:
        self._config = config
        self.token_order: Tensor | None = None
        if config.sparse is not None:
            self.token_order = gilbert_order(1, rope.rows, rope.columns).to(rope.device)
            rope = rope.in_order(self.token_order)
        self._rope = rope
        self._family: RopeFamily = family
        self._places = places
        self._like = like
        self._slot_rotations = rope.rotations(range(config.capacity_frames))
        self._chunk_rotations: tuple[int, int, Tensor] | None = None
        self._chunk_tables: tuple[int, int, AxisRotations] | None = None
        self._axes: AxisRotations | None = None
        self._near: tuple[tuple[int, ...], int, Tensor] | None = None

    def call(self, ring: RingWrite, start: int, frames: int, end: int) -> CachedCall:
        """The call on `frames` frames from `start`, with the stream then at `end`."""
        if self._family == "slot":
            return self._slot_call(ring, frames, end)
        return self._absolute_call(ring, start, frames, end)

    def _slot_call(self, ring: RingWrite, frames: int, end: int) -> CachedCall:
        tokens = self._rope.tokens_per_frame
        live = min(end, self._config.capacity_frames)
        query = self._slot_rotations[(live - frames) * tokens : live * tokens]
        near = self._near_blocks(ring, frames)
        if backend_for(self._like) != "triton" or self.token_order is not None:
            read = self._in_slot_order(ring)
            return CachedCall(ring, tokens, query, None, 0, read, near=near)
        if self._axes is None:
            self._axes = self._rope.axes(range(self._config.capacity_frames))
        tables = self._axes, live - frames
        rotations = spans_of(ring.order, tokens), self._axes
        return CachedCall(ring, tokens, query, None, 0, None, rotations=rotations, tables=tables)

    def _near_blocks(self, ring: RingWrite, frames: int) -> Tensor | None:
        """What sliding tiles choose; kept for the other calls of the chunk."""
        policy, order = self._config.sparse, self.token_order
        if policy is None or order is None or policy.kind != "sliding_tiles":
            return None
        if self._near is None or self._near[:2] != (ring.order, frames):
            columns, tokens = self._rope.columns, self._rope.tokens_per_frame

            def places(of_frames: Sequence[int]) -> Tensor:
                grid = torch.stack((order // columns, order % columns), dim=1).cpu()
                time = torch.tensor(tuple(of_frames)).repeat_interleave(tokens)
                return torch.cat((time[:, None], grid.repeat(len(of_frames), 1)), dim=1)

            sinks = min(self._config.sink_frames, ring.live) * tokens
            new = range(ring.live - frames, ring.live)
            where = TokenPlaces(places(new), places(ring.order), sinks)
            near = sliding_tiles(policy, where).to(self._rope.device)
            self._near = ring.order, frames, near
        return self._near[2]

    def _in_slot_order(self, ring: RingWrite) -> Tensor:
        """Rotations of the live slots as they lie in memory."""
        tokens = self._rope.tokens_per_frame
        table = self._slot_rotations[: ring.live * tokens]
        if ring.order == tuple(range(ring.live)):
            return table
        # The ring lies in memory as two runs: from its first slot to the newest frame's turn.
        sink = self._config.sink_frames * tokens
        first = ring.order[self._config.sink_frames] * tokens
        return torch.cat((table[:sink], table[first:], table[sink:first]))

    def _absolute_call(self, ring: RingWrite, start: int, frames: int, end: int) -> CachedCall:
        tokens = self._rope.tokens_per_frame
        query = self._chunk(start, frames)
        if self._places is not None:
            sink, tables = self._places.rotations(start), self._tables(start, frames)
            return CachedCall(ring, tokens, query, query, 0, None, sink, tables=tables)
        if not self._config.bounded_sink:
            near, tables = self._near_blocks(ring, frames), self._tables(start, frames)
            return CachedCall(ring, tokens, query, query, 0, None, tables=tables, near=near)
        sinks = min(self._config.sink_frames, ring.live)
        oldest = end - ring.live
        raw = max(
            (
                part.source + min(part.frames, self._config.sink_frames - part.slot)
                for part in ring.segments
                if part.slot < self._config.sink_frames
            ),
            default=0,
        )
        write = query[raw * tokens :] if raw < frames else None
        read = self._rope.rotations(range(oldest, oldest + sinks)) if sinks else None
        near = self._near_blocks(ring, frames)
        return CachedCall(ring, tokens, query, write, raw * tokens, read, near=near)

    def _chunk(self, start: int, frames: int) -> Tensor:
        """Rotations of these frames; kept for the other denoising calls of the chunk."""
        kept = self._chunk_rotations
        if kept is None or kept[:2] != (start, frames):
            kept = (start, frames, self._rope.rotations(range(start, start + frames)))
            self._chunk_rotations = kept
        return kept[2]

    def _tables(self, start: int, frames: int) -> tuple[AxisRotations, int] | None:
        """`_chunk` as tables for a kernel, where one will use them."""
        if backend_for(self._like) != "triton" or self.token_order is not None:
            return None
        kept = self._chunk_tables
        if kept is None or kept[:2] != (start, frames):
            kept = (start, frames, self._rope.axes(range(start, start + frames)))
            self._chunk_tables = kept
        return kept[2], 0
