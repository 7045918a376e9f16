"""What comes out of an executor; free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..contract import Chunk
from .messages import Span


@dataclass(frozen=True, slots=True)
class Finished:
    """A chunk of a stream; `latency_s` from its admission, `spans` where it went, if known."""

    stream: str
    chunk: Chunk
    latency_s: float = 0.0
    spans: tuple[Span, ...] = ()

    @property
    def busy_s(self) -> dict[int, float]:
        """Seconds of work on it by stage."""
        return busy_by_stage(self.spans)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A chunk that was admitted before `drop`, and is not shown."""

    stream: str
    index: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A stream asked for what the model refuses, or broke stages twice at a chunk; it is closed."""

    stream: str
    reason: str


@dataclass(frozen=True, slots=True)
class Restarting:
    """A stage died or hung: all are started again, which takes about `estimate_s`."""

    reason: str
    estimate_s: float


@dataclass(frozen=True, slots=True)
class Restarted:
    """The stages work again after `took_s`; every stream goes on where it was."""

    took_s: float


def busy_by_stage(spans: Iterable[Span]) -> dict[int, float]:
    """Seconds of work by stage."""
    busy_s: dict[int, float] = {}
    for span in spans:
        busy_s[span.stage] = busy_s.get(span.stage, 0.0) + span.end_s - span.begin_s
    return busy_s


Event = Finished | Dropped | Lost | Restarting | Restarted
