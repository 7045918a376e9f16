"""What comes out of an executor; free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..contract import Chunk
from .messages import WorkSpan
from .past import Past

Cause = Literal["died", "hung", "failed"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A chunk of a stream; `latency_s` from its admission, `spans` where it went, if known.

    It was made as one of a batch of `rows`, on which its bits depend (`staged_model.step_as_row`).
    """

    stream: str
    chunk: Chunk
    latency_s: float = 0.0
    spans: tuple[WorkSpan, ...] = ()
    rows: int = 1

    @property
    def busy_s(self) -> dict[int, float]:
        """Seconds of work on it by stage."""
        return busy_by_stage(self.spans)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A chunk that was admitted before `drop`, and is not shown; `rows` as of `Finished`."""

    stream: str
    index: int
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Lost:
    """A stream is closed: it asked for what the model refuses, or the model failed again and again
    at one chunk of it. `refused` tells which."""

    stream: str
    reason: str
    refused: bool = True


@dataclass(frozen=True, slots=True)
class MeasuredAlone:
    """A chunk keeps the slowest stage at work for `seconds`, found out while nobody was served."""

    seconds: float


@dataclass(frozen=True, slots=True)
class MeasuredBatch:
    """A batch of `rows` chunks takes `seconds`, with all work before and behind the student."""

    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Restarting:
    """The model's processes are started again, which takes about `estimate_s`.

    `cause` is fit for clients and health checks; `detail` may quote an exception and is for logs.
    """

    cause: Cause
    detail: str
    estimate_s: float


@dataclass(frozen=True, slots=True)
class Restarted:
    """The model works again after `took_s`; every stream goes on where it was.

    Bit for bit, unless it is not `exact`: then from small snapshots, and looks the same.
    """

    took_s: float
    exact: bool = True


def busy_by_stage(spans: Iterable[WorkSpan]) -> dict[int, float]:
    """Seconds of work by stage."""
    busy_s: dict[int, float] = {}
    for span in spans:
        busy_s[span.stage] = busy_s.get(span.stage, 0.0) + span.end_s - span.begin_s
    return busy_s


@dataclass(frozen=True, slots=True)
class Saved:
    """From this snapshot, behind chunk `index`, and the controls since a stream can be gone on with
    elsewhere: from chunk `shown_from` on what is shown then is the same bit for bit, or looks the
    same if it is a `small` one."""

    stream: str
    index: int
    parts: Mapping[str, bytes]
    shown_from: int
    small: bool


@dataclass(frozen=True, slots=True)
class Parked:
    """The executor has let go of a stream, and can `adopt` it again from its `past`."""

    stream: str
    past: Past


Event = (
    Finished
    | Dropped
    | Lost
    | MeasuredAlone
    | MeasuredBatch
    | Restarting
    | Restarted
    | Saved
    | Parked
)
