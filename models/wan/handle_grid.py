"""Handles that pull at a grid of points, as FastVideo's live server for TrackWan has them.

No clock and no thread: who calls says when. What is asked for takes effect at the boundary of a
block, whose pictures then show the way that the handles went meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Point = tuple[float, float]

# A point nearer than this to its own place counts as not moved.
_STILL = 1e-5


@dataclass(frozen=True, slots=True)
class Handle:
    """A handle that was taken at `anchor` and is now at `position`, both (x, y) in 0..1."""

    anchor: Point
    position: Point


@dataclass(frozen=True, slots=True)
class Sample:
    """Where handle `handle` was at `at_ms`; None: when it was heard of."""

    handle: str
    point: Point
    at_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What one message asks for, in this order: a radius, all handles, without some, new ones.

    `handles` replaces the set, but handles that are known stay as they are; one that is added
    begins anew at its point. `samples` of handles that are not there then are ignored.
    """

    revision: int
    radius: float | None = None
    handles: Mapping[str, Point] | None = None
    remove: tuple[str, ...] = ()
    add: Mapping[str, Point] | None = None
    samples: tuple[Sample, ...] = ()

    def __post_init__(self) -> None:
        if self.radius is not None:
            _check_radius(self.radius)
        points = (*(self.handles or {}).values(), *(self.add or {}).values())
        for point in (*points, *(sample.point for sample in self.samples)):
            _check_point(point)


@dataclass(frozen=True, slots=True)
class Tracks:
    """Where the grid's points are in each picture of a block.

    `points` [T, N, 2] in 0..1, `visibility` [T, N], 1 while a point is away from its place.
    """

    points: Floats
    visibility: Floats


class HandleGrid:
    """A grid of `size` x `size` points and the handles that pull at those within `radius`.

    Points are counted from the top left, row by row. Everything of it is in `state`.
    """

    def __init__(self, handles: Mapping[str, Point], *, radius: float, size: int = 50) -> None:
        self.grid: Floats = grid_points(size)
        _check_radius(radius)
        for point in handles.values():
            _check_point(point)
        self.radius = radius
        self.handles = {name: Handle(point, point) for name, point in handles.items()}
        self.applied_revision = 0
        self._accepted_revision = 0
        self._pending: list[tuple[Change, float]] = []

    def nearest(self, point: Point) -> int:
        """The index of the grid's point nearest to `point`."""
        return nearest_point(self.grid, point)

    def ask(self, change: Change, now_ms: float) -> bool:
        """Keep `change` for the next block; False, and nothing is kept, if it came too late.

        That is if its revision is not greater than the last one.
        """
        if change.revision <= self._accepted_revision:
            return False
        self._accepted_revision = change.revision
        self._pending.append((change, now_ms))
        return True

    def hold(self, pictures: int) -> Tracks:
        """The next block's `pictures` with the handles where they are; what is asked for waits."""
        now = self._pulled({name: handle.position for name, handle in self.handles.items()})
        return self._tracks(np.repeat(now[None], pictures, axis=0))

    def render(self, pictures: int, *, start_ms: float, end_ms: float) -> Tracks:
        """The next block's `pictures` after all that was asked for; the first shows `start_ms`.

        And the last one `end_ms`, which is when the block before and this one were begun: handles
        go where they were seen to be in between, on straight lines. Raises ValueError if the end
        is before the start.
        """
        if end_ms < start_ms:
            raise ValueError(f"a block from {start_ms} to {end_ms} ms; expected the end behind")
        if not self._pending:
            return self.hold(pictures)
        before = self.handles
        samples = self._apply()
        times = np.linspace(start_ms, end_ms, pictures, dtype=np.float64)
        paths: dict[str, Floats] = {}
        for name, handle in self.handles.items():
            way = _way(before.get(name, handle).position, samples.get(name, []), start_ms, end_ms)
            when = [at for at, _ in way]
            axes = [np.interp(times, when, [point[axis] for _, point in way]) for axis in (0, 1)]
            paths[name] = np.stack(axes, axis=-1).astype(np.float32)
        made = [
            self._pulled({name: _point(path[k]) for name, path in paths.items()})
            for k in range(pictures)
        ]
        self.handles = {
            name: Handle(handle.anchor, _point(paths[name][-1]))
            for name, handle in self.handles.items()
        }
        return self._tracks(np.stack(made))

    def state(self) -> dict[str, Any]:
        """All that changes, JSON-able."""
        return {
            "radius": self.radius,
            "handles": {name: asdict(handle) for name, handle in self.handles.items()},
            "applied_revision": self.applied_revision,
            "accepted_revision": self._accepted_revision,
            "pending": [[asdict(change), now] for change, now in self._pending],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over the `state` of a grid of the same size."""
        self.radius = float(state["radius"])
        self.handles = {
            name: Handle(_point(handle["anchor"]), _point(handle["position"]))
            for name, handle in state["handles"].items()
        }
        self.applied_revision = int(state["applied_revision"])
        self._accepted_revision = int(state["accepted_revision"])
        self._pending = [(_change(plain), float(now)) for plain, now in state["pending"]]

    def _apply(self) -> dict[str, list[tuple[float, Point]]]:
        """Make the pending changes; the samples of each handle, as they came."""
        handles = dict(self.handles)
        samples: dict[str, list[tuple[float, Point]]] = {}
        for change, now in self._pending:
            if change.radius is not None:
                self.radius = change.radius
            if change.handles is not None:
                handles = {
                    name: handles.get(name, Handle(point, point))
                    for name, point in change.handles.items()
                }
            for name in change.remove:
                handles.pop(name, None)
            handles |= {name: Handle(point, point) for name, point in (change.add or {}).items()}
            for sample in change.samples:
                at = now if sample.at_ms is None else sample.at_ms
                samples.setdefault(sample.handle, []).append((at, sample.point))
            self.applied_revision = change.revision
        self.handles = handles
        self._pending = []
        return samples

    def _pulled(self, positions: Mapping[str, Point]) -> Floats:
        """The grid with each handle at its position."""
        placed = {
            name: Handle(self.handles[name].anchor, position)
            for name, position in positions.items()
        }
        moved, _ = pull(self.grid, placed, self.radius)
        return np.clip(self.grid + moved, 0.0, 1.0).astype(np.float32)

    def _tracks(self, points: Floats) -> Tracks:
        return Tracks(points, is_away(points, self.grid).astype(np.float32))


def grid_points(size: int) -> Floats:
    """`size` x `size` points [N, 2] from edge to edge, from the top left, row by row.

    Raises ValueError for less than 2 a side.
    """
    if size < 2:
        raise ValueError(f"a grid of {size} points a side; expected at least 2")
    axis = np.linspace(0.0, 1.0, size, dtype=np.float32)
    columns, rows = np.meshgrid(axis, axis)
    return np.stack((columns, rows), axis=-1).reshape(-1, 2)


def nearest_point(grid: Floats, point: Point) -> int:
    """The index of the point of `grid` [N, 2] that is nearest to `point`."""
    return int(np.linalg.norm(grid - np.asarray(point, dtype=np.float32), axis=1).argmin())


def is_away(points: Floats, grid: Floats) -> NDArray[np.bool_]:
    """Which of `points` [..., N, 2] are not at their places on `grid` [N, 2]."""
    return np.linalg.norm(points - grid, axis=-1) > _STILL


def pull(
    grid: Floats, handles: Mapping[str, Handle], radius: float, pins: frozenset[str] = frozenset()
) -> tuple[Floats, Floats]:
    """How far each point of `grid` is moved [N, 2], and how much of it is in hand, [N, 1] in 0..1.

    Where several handles pull, none pulls farther than alone. `pins` are handles that shield what
    is near them from all others: at a pin only the pin itself pulls.
    """
    weights = {name: _weights(grid, handles[name].anchor, radius) for name in sorted(handles)}
    moved = np.zeros_like(grid)
    total = np.zeros((len(grid), 1), dtype=np.float32)
    for name, own in weights.items():
        weight = own
        for pin in sorted(pins - {name}):
            weight = weight * (np.float32(1.0) - weights[pin])
        anchor = np.asarray(handles[name].anchor, dtype=np.float32)
        moved += weight * (np.asarray(handles[name].position, dtype=np.float32) - anchor)
        total += weight
    return moved / np.maximum(np.float32(1.0), total), np.minimum(np.float32(1.0), total)


def _weights(grid: Floats, anchor: Point, radius: float) -> Floats:
    """How much of a handle's way each point goes, [N, 1]: all at the anchor, none at the radius."""
    distance = np.linalg.norm(grid - np.asarray(anchor, dtype=np.float32), axis=-1)
    share = np.clip(distance / radius, 0.0, 1.0)
    weights = 0.5 * (1.0 + np.cos(np.pi * share))
    return np.where(distance >= radius, 0.0, weights).astype(np.float32)[:, None]


def _way(
    origin: Point, samples: Sequence[tuple[float, Point]], start_ms: float, end_ms: float
) -> list[tuple[float, Point]]:
    """Times and places that a handle passes from `origin` on, times ascending."""
    way = [(start_ms, origin)]
    for at, point in sorted(samples, key=lambda sample: sample[0]):
        at = min(max(at, start_ms), end_ms)
        if at == way[-1][0]:
            way.pop()
        way.append((at, point))
    if way[-1][0] < end_ms:
        way.append((end_ms, way[-1][1]))
    return way


def _change(plain: Mapping[str, Any]) -> Change:
    """The change that was written as plain values."""
    samples = tuple(
        Sample(sample["handle"], _point(sample["point"]), sample["at_ms"])
        for sample in plain["samples"]
    )
    points = {
        key: None
        if plain[key] is None
        else {name: _point(point) for name, point in plain[key].items()}
        for key in ("handles", "add")
    }
    remove = tuple(plain["remove"])
    return Change(
        int(plain["revision"]), plain["radius"], points["handles"], remove, points["add"], samples
    )


def _point(pair: Sequence[float] | Floats) -> Point:
    return float(pair[0]), float(pair[1])


def _check_radius(radius: float) -> None:
    if not 0.0 < radius <= math.sqrt(2.0):
        raise ValueError(f"radius {radius}; expected more than 0, at most the square root of 2")


def _check_point(point: Point) -> None:
    if not all(0.0 <= value <= 1.0 for value in point):
        raise ValueError(f"a handle at {point}; expected x and y in 0..1")
