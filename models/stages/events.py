"""What comes out of an executor; free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..stream import Chunk
from .messages import Span


@dataclass(frozen=True, slots=True)
class Finished:
    """A chunk of a stream; `latency_s` from its admission, `spans` where it went, if known."""

    stream: str
    chunk: Chunk
    latency_s: float = 0.0
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Dropped:
    """A chunk that was admitted before `drop`, and is not shown."""

    stream: str
    index: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A stream asked for what the model refuses; it is closed."""

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


Event = Finished | Dropped | Lost | Restarting | Restarted
