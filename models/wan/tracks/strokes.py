"""Pointer events of a stream as strokes: which handles there are in each picture of a chunk.

Events have an order and no time: what a client sends between two chunks reaches the model at once,
and of several moves in a row the server keeps the last. So the moves of each track are spread
evenly over the chunk's pictures, and other events take no time: a track is where it was in the
first picture, where it went last in the last one, and goes straight in between. Tracks do not wait
for each other, so it makes no difference how their events were mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...contract import TrackEvent
from ..handle_grid import Handle, Point

Held = Mapping[int, Handle]


@dataclass(frozen=True, slots=True)
class Stroke:
    """What a track holds, from press to release; `pinned`: it is held where it is (an anchor)."""

    handle: Handle
    pinned: bool = False


@dataclass(slots=True)
class Strokes:
    """The tracks that are held, by id, and the events that wait for the next chunk."""

    live: dict[int, Stroke] = field(default_factory=dict)
    waiting: list[TrackEvent] = field(default_factory=list)

    def clear(self, ids: Iterable[int] | None) -> None:
        """Release these tracks (None: all), and forget what was asked of them."""
        if ids is None:
            self.live.clear()
            self.waiting.clear()
            return
        gone = set(ids)
        self.live = {key: stroke for key, stroke in self.live.items() if key not in gone}
        self.waiting = [event for event in self.waiting if event.id not in gone]

    def ask(self, events: Iterable[TrackEvent]) -> None:
        """Keep `events` for the next chunk."""
        self.waiting += events

    def take_anew(self) -> None:
        """Forget where tracks were taken: they are held where they are."""
        self.live = {
            key: Stroke(Handle(stroke.handle.position, stroke.handle.position), stroke.pinned)
            for key, stroke in self.live.items()
        }

    def follow(self, pictures: int) -> list[dict[int, Stroke]]:
        """The strokes of each of a chunk's `pictures` after what was asked for.

        A track that is released behind its last move is still there in this chunk, since that is
        where the move is seen; one that is released without a move is there in none. A single
        picture, a stream's first, shows what is held: events wait, for nothing has moved in it yet.
        """
        if pictures == 1:
            return [dict(self.live)]
        own: dict[int, list[TrackEvent]] = {}
        for event in self.waiting:
            own.setdefault(event.id, []).append(event)
        self.waiting = []
        times = np.linspace(0.0, 1.0, pictures, dtype=np.float64)
        shown: list[dict[int, Stroke]] = [{} for _ in range(pictures)]
        for key in sorted({*self.live, *own}):
            path = _Path(self.live.pop(key, None), own.get(key, []))
            for number, stroke in path.shown(times):
                shown[number][key] = stroke
            if path.held is not None:
                self.live[key] = path.held
        return shown

    def plain(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return {
            "live": [
                [key, stroke.handle.anchor, stroke.handle.position, stroke.pinned]
                for key, stroke in self.live.items()
            ],
            "waiting": [[event.id, event.phase, event.x, event.y] for event in self.waiting],
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Strokes:
        """What `plain` wrote."""
        return cls(
            {
                int(key): Stroke(Handle(_point(anchor), _point(position)), bool(pinned))
                for key, anchor, position, pinned in plain["live"]
            },
            [TrackEvent(*event) for event in plain["waiting"]],
        )


@dataclass(slots=True)
class _Leg:
    """A stroke on its way: its places at ascending times in 0..1, the first when it begins."""

    anchor: Point
    pinned: bool
    times: list[float]
    places: list[Point]

    def at(self, time: float) -> Stroke:
        """Places are rounded to float32 before one goes on from them, as published."""
        x, y = (
            float(np.float32(np.interp(time, self.times, [place[axis] for place in self.places])))
            for axis in (0, 1)
        )
        return Stroke(Handle(self.anchor, (x, y)), self.pinned)


class _Path:
    """One track through one chunk: strokes one behind the other."""

    def __init__(self, stroke: Stroke | None, events: Sequence[TrackEvent]) -> None:
        self._legs: list[_Leg] = []
        self._open: _Leg | None = None
        moves = _moves_of_held(stroke is not None, events)
        now, done = 0.0, 0
        if stroke is not None:
            self._begin(stroke.handle.anchor, stroke.handle.position, stroke.pinned, now)
        for event in events:
            place = (event.x, event.y)
            if event.phase == "up":
                self._open = None
            elif event.phase != "move":
                self._begin(place, place, event.phase == "anchor", now)
            elif self._open is not None:
                done += 1
                now = done / moves
                self._open.times.append(now)
                self._open.places.append(place)

    @property
    def held(self) -> Stroke | None:
        """What is left of it for the next chunk."""
        return None if self._open is None else self._open.at(1.0)

    def shown(self, times: np.ndarray) -> Iterable[tuple[int, Stroke]]:
        """The pictures at `times` in which it is there, and as what; a later stroke wins."""
        made: dict[int, Stroke] = {}
        for leg in self._legs:
            moved = len(leg.times) > 1
            end = 1.0 if leg is self._open else leg.times[-1]
            if moved or leg is self._open:
                for number, time in enumerate(times):
                    if leg.times[0] <= time <= end:
                        made[number] = leg.at(float(time))
        return made.items()

    def _begin(self, anchor: Point, place: Point, pinned: bool, now: float) -> None:
        self._open = _Leg(anchor, pinned, [now], [place])
        self._legs.append(self._open)


def _moves_of_held(held: bool, events: Sequence[TrackEvent]) -> int:
    """How many of a track's events move what it holds then."""
    moves = 0
    for event in events:
        if event.phase == "move":
            moves += held
        else:
            held = event.phase != "up"
    return moves


def _point(pair: Sequence[float]) -> Point:
    return float(pair[0]), float(pair[1])
