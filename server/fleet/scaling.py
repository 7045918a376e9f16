"""How many replicas there should be: more before places run out, fewer once they stood empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .ledger import Replica


@dataclass(frozen=True, slots=True)
class Bounds:
    """At least `least` and at most `most` replicas; `reserve` places are kept free.

    One is let go of when for `calm_s` there were more free places than it has, and the reserve.
    """

    least: int = 1
    most: int = 1
    reserve: int = 1
    calm_s: float = 60.0

    def __post_init__(self) -> None:
        """Raises ValueError for bounds that contradict each other."""
        if not 1 <= self.least <= self.most:
            raise ValueError(f"replicas must be 1 <= least <= most, got {self.least}..{self.most}")
        if self.reserve < 0:
            raise ValueError(f"reserve must not be negative, got {self.reserve}")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done: nothing, one more, or an end to `name`."""

    do: Literal["nothing", "add", "drain"]
    name: str = ""


NOTHING = Wish("nothing")


def want(replicas: Sequence[Replica], waiting: int, bounds: Bounds, calm_for_s: float) -> Wish:
    """What to do with these replicas, for which `waiting` clients stand in line.

    `calm_for_s`: for how long `spare` was true. Those that start count with the places that others
    have, so that a burst starts as many as it needs and no more.
    """
    alive = [each for each in replicas if each.condition in ("ready", "starting")]
    if len(alive) < bounds.least:
        return Wish("add")
    ready = [each for each in alive if each.condition == "ready"]
    usual = max((each.places for each in ready), default=1)
    coming = usual * (len(alive) - len(ready))
    free = sum(each.free for each in ready) + coming
    if free < bounds.reserve + waiting and len(alive) < bounds.most:
        return Wish("add")
    if len(alive) > bounds.least and calm_for_s >= bounds.calm_s and spare(replicas, bounds):
        return Wish("drain", min(ready, key=lambda each: (len(each.streams), each.name)).name)
    return NOTHING


def spare(replicas: Sequence[Replica], bounds: Bounds) -> bool:
    """Whether the emptiest of those that are ready could be done without."""
    ready = [each for each in replicas if each.condition == "ready"]
    if len(ready) <= bounds.least:
        return False
    emptiest = min(ready, key=lambda each: (len(each.streams), each.name))
    free = sum(each.free for each in ready if each is not emptiest)
    return free >= bounds.reserve + len(emptiest.streams)
