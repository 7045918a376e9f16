"""A fleet simulated with its own policy: who waits, who is moved, how many replicas that takes.

Times are drawn at random, what is done is decided by `scaling` as the controller does it. Nothing
of media is in it: a replica has so many places, and serves each of its streams in real time.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from statistics import fmean

from .ledger import Replica
from .scaling import Bounds, spare, want

TURN_S = 0.5
"""So often the controller looks."""
Draw = Callable[[random.Random], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLoad:
    """What comes to a fleet, and what it is made of; times in seconds.

    Streams come `every_s` on average, at random unless `regular`, and last as long as `lasts_s`
    draws. Each replica has `places`, is there `start_s` after it is wanted, and is lost every
    `fails_s` on average (None: never). A move takes `move_s`, and each stream takes `gateway_share`
    of a core of its gateway.
    """

    every_s: float
    lasts_s: Draw
    places: int
    bounds: Bounds
    start_s: float = 4.0
    fails_s: float | None = None
    move_s: float = 0.1
    grace_s: float = 30.0
    most_wait_s: float = 60.0
    gateway_share: float = 0.01
    regular: bool = False


@dataclass(slots=True)
class FleetForecast:
    """What became of it: streams that `came`, at once (mean), shares of those that came."""

    came: int = 0
    streams: float = 0.0
    replicas: float = 0.0
    waited: float = 0.0
    """Share that found no place at once."""
    wait_s: float = 0.0
    """Of those, the mean."""
    refused: float = 0.0
    moves: int = 0
    losses: int = 0
    ended: int = 0
    """Streams that found no place within their grace time."""
    pause_share: float = 0.0
    """Of the time of all streams, for which they stood still."""
    gateway_cores: float = 0.0


@dataclass(slots=True)
class _State:
    replicas: dict[str, Replica] = field(default_factory=dict[str, Replica])
    where: dict[int, str] = field(default_factory=dict[int, str])
    line: deque[tuple[int, float]] = field(default_factory=deque[tuple[int, float]])
    homeless: dict[int, float] = field(default_factory=dict[int, float])
    """Streams whose replica was lost, and since when."""
    calm_since_s: float | None = None
    waits_s: list[float] = field(default_factory=list[float])
    paused_s: float = 0.0


def simulate(
    load: FleetLoad, *, seconds: float, seed: int = 1, settle_s: float = 0.0
) -> FleetForecast:
    """Let so many seconds pass; what is before `settle_s` is not counted."""
    return _Simulation(load, seed).run(seconds, settle_s)


class _Simulation:
    def __init__(self, load: FleetLoad, seed: int) -> None:
        self._load = load
        self._draw = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = count()
        self._now = _State()
        self._seen = FleetForecast()
        self._streams: list[int] = []
        self._alive: list[int] = []

    def run(self, seconds: float, settle_s: float) -> FleetForecast:
        for _ in range(self._load.bounds.least):
            self._ready(self._add(0.0), 0.0)
        self._at(self._gap_s(), self._come)
        self._at(TURN_S, self._turn)
        settled = False
        while self._events and self._events[0][0] <= seconds:
            at_s, _, act = heapq.heappop(self._events)
            if not settled and at_s >= settle_s:
                settled, self._seen = True, FleetForecast()
                self._now.waits_s.clear()
                self._now.paused_s = 0.0
                self._streams.clear()
                self._alive.clear()
            act(at_s)
        return self._report(seconds - settle_s)

    def _report(self, seconds: float) -> FleetForecast:
        seen, now = self._seen, self._now
        came = max(1, seen.came)
        seen.waited = len(now.waits_s) / came
        seen.wait_s = fmean(now.waits_s) if now.waits_s else 0.0
        seen.refused /= came
        seen.streams = fmean(self._streams) if self._streams else 0.0
        seen.replicas = fmean(self._alive) if self._alive else 0.0
        seen.pause_share = now.paused_s / max(1e-9, seen.streams * seconds)
        seen.gateway_cores = seen.streams * self._load.gateway_share
        return seen

    def _at(self, at_s: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._number), act))

    def _gap_s(self) -> float:
        every_s = self._load.every_s
        return every_s if self._load.regular else self._draw.expovariate(1 / every_s)

    # Streams.

    def _come(self, now_s: float) -> None:
        stream = next(self._number)
        self._seen.came += 1
        if self._now.line or not self._place(stream, now_s):
            self._now.line.append((stream, now_s))
        self._at(now_s + self._gap_s(), self._come)

    def _place(self, stream: int, now_s: float) -> bool:
        if not self._take_room(stream):
            return False
        self._at(now_s + self._load.lasts_s(self._draw), lambda at_s: self._leave(stream, at_s))
        return True

    def _take_room(self, stream: int) -> bool:
        usable = (each for each in self._now.replicas.values() if each.condition == "ready")
        chosen = max(usable, key=lambda each: each.free, default=None)
        if chosen is None or chosen.free <= 0:
            return False
        chosen.free -= 1
        chosen.streams[str(stream)] = 0
        self._now.where[stream] = chosen.name
        return True

    def _give_back(self, stream: int) -> None:
        replica = self._now.replicas.get(self._now.where.pop(stream, ""))
        if replica is not None and replica.streams.pop(str(stream), None) is not None:
            replica.free += 1

    def _leave(self, stream: int, now_s: float) -> None:
        since_s = self._now.homeless.pop(stream, None)
        if since_s is not None:
            self._now.paused_s += now_s - since_s
        self._give_back(stream)
        self._serve(now_s)

    def _serve(self, now_s: float) -> None:
        """First those that have lost their place, then the line."""
        now, load = self._now, self._load
        for stream, since_s in list(now.homeless.items()):
            if now_s - since_s > load.grace_s:
                del now.homeless[stream]
                now.paused_s += load.grace_s
                self._seen.ended += 1
            elif self._take_room(stream):
                del now.homeless[stream]
                now.paused_s += now_s - since_s + load.move_s
                self._seen.moves += 1
        while now.line:
            stream, since_s = now.line[0]
            if now_s - since_s > load.most_wait_s:
                self._seen.refused += 1
            elif self._place(stream, now_s):
                now.waits_s.append(now_s - since_s)
            else:
                return
            now.line.popleft()

    # Replicas.

    def _add(self, now_s: float) -> str:
        name = f"r{next(self._number)}"
        self._now.replicas[name] = Replica(name, "", places=self._load.places)
        return name

    def _ready(self, name: str, now_s: float) -> None:
        replica = self._now.replicas[name]
        replica.condition, replica.free = "ready", replica.places
        if self._load.fails_s is not None:
            lasts_s = self._draw.expovariate(1 / self._load.fails_s)
            self._at(now_s + lasts_s, lambda at_s: self._lose(name, at_s))
        self._serve(now_s)

    def _lose(self, name: str, now_s: float) -> None:
        if name in self._now.replicas:
            self._seen.losses += 1
            self._empty(name, now_s)

    def _empty(self, name: str, now_s: float) -> None:
        """Its streams go elsewhere; one that is drained does not differ from one that is lost."""
        replica = self._now.replicas.pop(name)
        for stream in map(int, replica.streams):
            self._now.where.pop(stream, None)
            self._now.homeless[stream] = now_s
        self._serve(now_s)

    def _turn(self, now_s: float) -> None:
        """What the controller does twice a second."""
        now, bounds = self._now, self._load.bounds
        self._serve(now_s)
        known = list(now.replicas.values())
        if not spare(known, bounds):
            now.calm_since_s = None
        elif now.calm_since_s is None:
            now.calm_since_s = now_s
        calm_s = 0.0 if now.calm_since_s is None else now_s - now.calm_since_s
        wish = want(known, len(now.line), bounds, calm_s)
        if wish.do == "add":
            name = self._add(now_s)
            self._at(now_s + self._load.start_s, lambda at_s: self._ready(name, at_s))
        elif wish.do == "drain":
            now.calm_since_s = None
            self._empty(wish.name, now_s)
        self._streams.append(len(now.where) + len(now.homeless))
        self._alive.append(len(now.replicas))
        self._at(now_s + TURN_S, self._turn)
