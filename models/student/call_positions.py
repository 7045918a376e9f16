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
from ...kernels.ring_plan import MAX_SPANS, SinkFold, Span, spans_of
from ..upload import uploaded
from .config import CacheConfig, RopeFamily
from .frame_ring import Held, RingWrite
from .rope import Grid, RopeTable
from .token_sink import SinkPlaces


@dataclass(frozen=True, slots=True)
class AdaptiveCall:
    """What a call does to an adaptive sink, the same for every layer.

    Before it the cache holds `held` frames, in its first slots; the call's own frames stand at
    RoPE places from `place` on. `again`: they have their slots from an earlier call. `rewind`
    [1, D / 2] turns cached keys `by` places on, before the call; None: they stay.
    """

    held: int
    place: int
    again: bool
    rewind: Tensor | None = None
    by: int = 0


@dataclass(frozen=True, slots=True)
class CachedCall:
    """Positions of one call of the student, the same for every layer.

    `query` rotates the queries [N, D / 2]. `write` rotates the first keys of the call before they
    are stored and `read` the first stored keys before they are used; None: as they are.
    `write_from` is the first token of the call that `write` rotates. `sink` rotates the keys of a
    sink of tokens. `rotations`, instead of `read`: kernels rotate these spans of raw keys.
    `tables`, instead of `query` and `write`: one kernel norms, rotates and stores; they are the
    call's rotations, and the place of its first frame in them. `near`: the blocks that sliding
    tiles choose. `visible`: the frame slots that are attended to, in this order; None: all that are
    live. A call that does not store (`stores`) also attends to its own keys, turned by `query`.
    `adaptive` is for a cache with an adaptive sink. `fold` is what frames that leave do to an EMA
    sink; the `ring` of a call names none of them. `turns`: kept keys have to be turned anew.

    This is all that layers know of a call. Numbers in it come back from chunk to chunk, but for
    those of an adaptive sink: how far a stream has come is in its tensors alone.
    """

    ring: RingWrite
    tokens_per_frame: int
    query: Tensor | None
    write: Tensor | None
    write_from: int
    read: Tensor | None
    sink: Tensor | None = None
    rotations: tuple[tuple[Span, ...], AxisRotations] | None = None
    tables: tuple[AxisRotations, int] | None = None
    near: Tensor | None = None
    visible: tuple[int, ...] | None = None
    stores: bool = True
    adaptive: AdaptiveCall | None = None
    fold: SinkFold | None = None
    turns: bool = False


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
        *,
        trained_frames: int = 0,
    ) -> None:
        self._config = config
        self._trained_frames = trained_frames
        self.token_order: Tensor | None = None
        # the same, on the host
        self._order: Tensor | None = None
        if config.sparse is not None:
            self._order = gilbert_order(1, rope.rows, rope.columns)
            self.token_order = uploaded(self._order, rope.device)
            rope = rope.in_order(self._order)
        self._rope = rope
        self._family: RopeFamily = family
        self._places = places
        self._like = like
        self._place_rotations: tuple[tuple[int, ...], Tensor] | None = None
        self._place_tables: tuple[tuple[int, ...], AxisRotations] | None = None
        self._chunk_rotations: tuple[float, int, Tensor] | None = None
        self._chunk_tables: tuple[float, int, AxisRotations] | None = None
        self._near: tuple[tuple[int, ...], int, Tensor] | None = None

    def call(
        self, ring: RingWrite, start: int, frames: int, end: int, held: int, *, offset: float = 0.0
    ) -> CachedCall:
        """The call on `frames` frames from `start`, with the stream then at `end`.

        The cache then holds `held` frames. Rotated keys and their queries stand `offset` frames
        later than that.
        """
        if self._family == "absolute":
            return self._absolute_call(ring, start, frames, end, offset)
        return self._raw_call(ring, frames, end, held)

    def shift(self, frames: int) -> Tensor:
        """What turns keys so many frames on [1, D / 2]."""
        return self._rope.grid_rotations(Grid((frames,), (0,), (0,)))

    def reading_call(self, held: Sequence[Held], start: int, frames: int) -> CachedCall:
        """A call on `frames` frames from `start` that reads those before it and stores nothing."""
        reach, sinks = self._config.reach_frames, self._config.sink_frames
        if reach is None:
            raise ValueError("only a cache with reach_frames can be read without being written")
        past = [kept for kept in held if kept.frame < start]
        sink = [kept for kept in past if kept.frame < sinks]
        room = reach - frames - len(sink)
        if room < 0:
            raise ValueError(f"{frames} frames and the sink exceed reach_frames {reach}")
        window = past[len(sink) :][-room:] if room else []
        near = start - len(window) - len(sink)
        read = self._rope.rotations(range(near, near + len(sink))) if sink else None
        ring = RingWrite((), (), len(held), ())
        visible = tuple(kept.slot for kept in (*sink, *window))
        query = self._chunk(start, frames)
        tokens = self._rope.tokens_per_frame
        return CachedCall(ring, tokens, query, None, 0, read, visible=visible, stores=False)

    def _raw_call(self, ring: RingWrite, frames: int, end: int, live: int) -> CachedCall:
        tokens = self._rope.tokens_per_frame
        positions = self._positions(live, end)
        spans = spans_of(ring.order, tokens)
        by_kernels = backend_for(self._like) == "triton"
        rotations = None
        if by_kernels and len(spans) <= MAX_SPANS:
            rotations = spans, self._axes_of_places(positions)
            if self._one_kernel_stores(ring):
                tables = rotations[1], live - frames
                near = self._near_blocks(ring, frames)
                return CachedCall(
                    ring, tokens, None, None, 0, None,
                    rotations=rotations, tables=tables, near=near,
                )  # fmt: skip
        table = self._turned_places(positions)
        query = table[(live - frames) * tokens : live * tokens]
        read = self._in_slot_order(spans, table) if rotations is None else None
        near = self._near_blocks(ring, frames)
        return CachedCall(ring, tokens, query, None, 0, read, rotations=rotations, near=near)

    def _one_kernel_stores(self, ring: RingWrite) -> bool:
        """Whether a call may be normed, rotated and stored at once.

        Not while the sink itself is written, if that has a shadow, nor into more places than the
        kernel takes, nor into slots that the host does not know.
        """
        config = self._config
        if config.refresh_below is not None:
            return False
        shadow = config.sink == "ema" and config.precision == "shadow"
        in_sink = any(part.slot < config.sink_frames for part in ring.segments)
        return len(ring.segments) <= MAX_SPANS and not (in_sink and shadow)

    def _positions(self, live: int, end: int) -> tuple[int, ...]:
        """Where each place stands: the frames of the cache in time, `live` of them or more."""
        if self._family == "slot":
            return tuple(range(self._config.capacity_frames))
        sinks = self._config.sink_frames
        if live <= sinks:
            return tuple(range(live))
        # Up to the last position that training has seen, however far the stream is.
        behind = min(end, self._trained_frames)
        return (*range(sinks), *range(behind - (live - sinks), behind))

    def _turned_places(self, positions: tuple[int, ...]) -> Tensor:
        """Rotations at these; kept until they change."""
        if self._place_rotations is None or self._place_rotations[0] != positions:
            self._place_rotations = positions, self._rope.rotations(positions)
        return self._place_rotations[1]

    def _axes_of_places(self, positions: tuple[int, ...]) -> AxisRotations:
        """The same as a table per axis for a kernel."""
        if self._place_tables is None or self._place_tables[0] != positions:
            self._place_tables = positions, self._rope.axes(positions)
        return self._place_tables[1]

    def _near_blocks(self, ring: RingWrite, frames: int) -> Tensor | None:
        """What sliding tiles choose; kept for the other calls of the chunk."""
        policy, order = self._config.sparse, self._order
        if policy is None or order is None or policy.kind != "sliding_tiles":
            return None
        if self._near is None or self._near[:2] != (ring.order, frames):
            columns, tokens = self._rope.columns, self._rope.tokens_per_frame

            def places(of_frames: Sequence[int]) -> Tensor:
                grid = torch.stack((order // columns, order % columns), dim=1)
                time = torch.tensor(tuple(of_frames)).repeat_interleave(tokens)
                return torch.cat((time[:, None], grid.repeat(len(of_frames), 1)), dim=1)

            sinks = min(self._config.sink_frames, ring.live) * tokens
            new = range(ring.live - frames, ring.live)
            where = TokenPlaces(places(new), places(ring.order), sinks)
            near = uploaded(sliding_tiles(policy, where), self._rope.device)
            self._near = ring.order, frames, near
        return self._near[2]

    def _in_slot_order(self, spans: Sequence[Span], table: Tensor) -> Tensor:
        """Rotations of the live slots as they lie in memory, of those by place."""
        tokens = self._rope.tokens_per_frame
        runs = [table[span.place * tokens : span.place * tokens + span.tokens] for span in spans]
        return runs[0] if len(runs) == 1 else torch.cat(runs)

    def _absolute_call(
        self, ring: RingWrite, start: int, frames: int, end: int, offset: float
    ) -> CachedCall:
        tokens = self._rope.tokens_per_frame
        first = start + offset
        sink = None if self._places is None else self._places.rotations(start)
        if not self._config.bounded_sink or self._places is not None:
            tables = self._tables(first, frames) if self._one_kernel_stores(ring) else None
            if tables is not None:
                near = self._near_blocks(ring, frames)
                return CachedCall(ring, tokens, None, None, 0, None, sink, tables=tables, near=near)
            query = self._chunk(first, frames)
            near = self._near_blocks(ring, frames)
            return CachedCall(ring, tokens, query, query, 0, None, sink, near=near)
        sinks = min(self._config.sink_frames, ring.live)
        visible, gone = self._within_reach(ring)
        # Where a reach ends the past, what stores sees the sink at its own place, if at all.
        nearest = 0 if self._config.reach_frames is not None else end - ring.live
        raw = max(
            (
                part.source + min(part.frames, self._config.sink_frames - part.slot)
                for part in ring.segments
                if part.slot < self._config.sink_frames
            ),
            default=0,
        )
        seen = range(nearest + gone, nearest + sinks)
        if not raw and visible is None and self._one_kernel_stores(ring):
            tables = self._tables(first, frames)
            if tables is not None:
                return self._near_sink_call(ring, tables, tuple(seen), frames)
        query = self._chunk(first, frames)
        write = query[raw * tokens :] if raw < frames else None
        read = self._rope.rotations(seen) if seen else None
        near = self._near_blocks(ring, frames)
        return CachedCall(
            ring, tokens, query, write, raw * tokens, read, near=near, visible=visible
        )

    def _near_sink_call(
        self,
        ring: RingWrite,
        tables: tuple[AxisRotations, int],
        places: tuple[int, ...],
        frames: int,
    ) -> CachedCall:
        """A call that one kernel stores, behind a sink of raw keys that stands at `places`."""
        tokens = self._rope.tokens_per_frame
        near = self._near_blocks(ring, frames)
        rotations = None
        if places:
            rotations = (Span(0, len(places) * tokens),), self._axes_of_places(places)
        return CachedCall(
            ring, tokens, None, None, 0, None, rotations=rotations, tables=tables, near=near
        )

    def _within_reach(self, ring: RingWrite) -> tuple[tuple[int, ...] | None, int]:
        """The slots of the latest frames, oldest first, and how many older ones are out of reach.

        None for all of them.
        """
        reach = self._config.reach_frames
        if reach is None or ring.live <= reach:
            return None, 0
        gone = ring.live - reach
        slots = sorted(range(ring.live), key=ring.order.__getitem__)
        return tuple(slots[gone:]), gone

    def _chunk(self, start: float, frames: int) -> Tensor:
        """Rotations of these frames; kept for the other denoising calls of the chunk."""
        kept = self._chunk_rotations
        if kept is None or kept[:2] != (start, frames):
            kept = (start, frames, self._rope.rotations(_from(start, frames)))
            self._chunk_rotations = kept
        return kept[2]

    def _tables(self, start: float, frames: int) -> tuple[AxisRotations, int] | None:
        """`_chunk` as tables for a kernel, where one will use them."""
        if backend_for(self._like) != "triton":
            return None
        kept = self._chunk_tables
        if kept is None or kept[:2] != (start, frames):
            kept = (start, frames, self._rope.axes(_from(start, frames)))
            self._chunk_tables = kept
        return kept[2], 0


def _from(start: float, frames: int) -> tuple[float, ...]:
    return tuple(start + frame for frame in range(frames))
