"""Self-attention of a batch of streams whose caches lie in one pool: one write, one rotation, one
product for all rows, wherever in its ring each of them stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ...kernels.dispatch import attention
from .blocks import QKVO
from .cache_pool import CachePool, Seat
from .call_positions import CachedCall
from .rope import rotate
from .student_cache import StudentCache


@dataclass(frozen=True, slots=True)
class PooledCalls:
    """Calls of k rows of one shape, the same for every layer.

    Row b's cache is at `places[b]`. The call's frames `sources` go to its `slots` [k, n]; `query`,
    `write` and `read` are as in `CachedCall`, a table a row [k, 1, N, D / 2]. `live` tokens are
    attended to.
    """

    pool: CachePool
    places: Tensor
    run: slice | None
    """The same places, where they are as far from each other as all."""
    sources: tuple[int, ...]
    slots: Tensor
    tokens_per_frame: int
    live: int
    query: Tensor
    write: Tensor | None
    write_from: int
    read: Tensor | None


def pooled_calls(caches: Sequence[StudentCache], calls: Sequence[CachedCall]) -> PooledCalls | None:
    """The calls of a batch as one; None where its rows are not of one shape in one pool."""
    seats = [cache.layers[0].seat for cache in caches]
    first, pool = calls[0], seats[0].pool if seats[0] else None
    if len(caches) < 2 or pool is None or not _plain(caches[0], first):
        return None
    shape = _shape(first)
    if any(_shape(call) != shape for call in calls):
        return None
    places: list[int] = []
    for seat in seats:
        if not isinstance(seat, Seat) or seat.pool is not pool:
            return None
        places.append(seat.place)
    rows = [_moved(call) for call in calls]
    query = _tables([call.query for call in calls])
    assert query is not None, "a plain call has one"
    return PooledCalls(
        pool,
        torch.tensor(places),
        _run(places),
        tuple(source for source, _ in rows[0]),
        torch.tensor([[slot for _, slot in row] for row in rows]),
        first.tokens_per_frame,
        first.ring.live * first.tokens_per_frame,
        query,
        _tables([call.write for call in calls]),
        first.write_from,
        _tables([call.read for call in calls]),
    )


class PooledAttend:
    """A layer's attention of such a batch; a `FusedAttend`."""

    def __init__(self, calls: PooledCalls, layer: int) -> None:
        self._calls = calls
        self._layer = layer

    def attend_projected(self, norms: QKVO, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention [k, H, N, D] of projections [k, N, d]; writes the caches."""
        calls = self._calls
        own_query, own_key, own_value = norms.normed_heads(query, key, value)
        if calls.write is not None:
            turned = rotate(own_key[:, :, calls.write_from :], calls.write)
            head = own_key[:, :, : calls.write_from]
            own_key = torch.cat((head, turned), dim=2) if calls.write_from else turned
        keys = self._stored(calls.pool.keys[self._layer], own_key)
        values = self._stored(calls.pool.values[self._layer], own_value)
        if calls.read is not None:
            rotated = calls.read.shape[2]
            first = rotate(keys[:, :, :rotated], calls.read)
            keys = first if rotated == calls.live else torch.cat((first, keys[:, :, rotated:]), 2)
        return attention(rotate(own_query, calls.query), keys, values)

    def _stored(self, pool: Tensor, new: Tensor) -> Tensor:
        """Write `new` [k, H, N, D] to the rows' places; all that is live there then."""
        calls, tokens = self._calls, self._calls.tokens_per_frame
        frames = pool.unflatten(2, (-1, tokens))
        split = new.unflatten(2, (-1, tokens))
        for number, source in enumerate(calls.sources):
            frames[calls.places, :, calls.slots[:, number]] = split[:, :, source]
        if calls.run is not None:
            return pool[calls.run, :, : calls.live]
        return pool[:, :, : calls.live].index_select(0, calls.places)


def _plain(cache: StudentCache, call: CachedCall) -> bool:
    """Whether a call does nothing but store, turn and attend: what all rows do alike.

    What has left for an EMA sink is in it by then (`StudentCache.arrange`); its shadow is not here.
    The raw keys of a bounded sink lie beside the pool, and those in it have been turned to their
    places: to turn them once more gives rows that are off by 2e-3.
    """
    config = cache.config
    return (
        call.stores
        and call.query is not None
        and call.tables is None
        and call.rotations is None
        and call.sink is None
        and call.visible is None
        and call.adaptive is None
        and cache.layers[0].sink_key is None
        and config.sparse is None
        and not config.bounded_sink
        and config.attention == "exact"
        and not cache.layers[0].sink_tokens
    )


def _shape(call: CachedCall) -> tuple[object, ...]:
    """What has to be the same for all rows of a batch."""
    tables = (call.query, call.write, call.read)
    return (
        call.stores,
        call.ring.live,
        call.write_from,
        tuple(source for source, _ in _moved(call)),
        *(None if table is None else table.shape for table in tables),
        *(each is None for each in (call.tables, call.rotations, call.sink, call.visible)),
    )


def _moved(call: CachedCall) -> list[tuple[int, int]]:
    """The frames that a call stores, and their slots."""
    return [
        (part.source + frame, part.slot + frame)
        for part in call.ring.segments
        for frame in range(part.frames)
    ]


def _tables(rows: Sequence[Tensor | None]) -> Tensor | None:
    """A table a row [k, 1, N, D / 2]; one that all share is made once."""
    given = [row for row in rows if row is not None]
    if not given:
        return None
    if all(row is given[0] for row in given):
        return given[0][None, None]
    return torch.stack(given)[:, None]


def _run(places: Sequence[int]) -> slice | None:
    step = places[1] - places[0]
    if step < 1 or any(b - a != step for a, b in pairwise(places)):
        return None
    return slice(places[0], places[-1] + 1, step)
