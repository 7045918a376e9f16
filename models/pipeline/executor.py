"""The seam between whoever has streams and whatever makes their chunks.

A driver opens streams, submits chunks and polls for what became of them; it does not know whether a
chunk is made by its own thread, in a batch with others or by a pipeline of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..contract import Controls, ModelInfo, StreamRequest
from .events import Event, Finished, Lost
from .past import Past
from .stage_plan import Costs

_POLL_S = 0.02


class Executor(Protocol):
    """Makes the chunks of any number of streams; each stream's chunks come in order.

    One thread calls it.
    """

    def start(self) -> None:
        """Be ready to make chunks, warm and measured; returns when that is so."""
        ...

    def stop(self) -> None:
        """End, with everything that was started."""
        ...

    def interrupt(self) -> None:
        """Let `start` raise instead of going on; the one method for any thread."""
        ...

    @property
    def costs(self) -> Costs | None:
        """What the parts of a chunk took in the warm-up; None before."""
        ...

    @property
    def measured(self) -> bool:
        """Whether `costs` are those of a whole warm-up: if not, `MeasuredAlone` may tell of it."""
        ...

    @property
    def period_s(self) -> float:
        """Seconds between chunks at best, once it was started."""
        ...

    @property
    def info(self) -> ModelInfo:
        """What the model makes."""
        ...

    @property
    def depth(self) -> int:
        """Chunks that may be under way at once before the first of them is finished."""
        ...

    @property
    def waiting(self) -> int:
        """Chunks that were submitted and not admitted yet."""
        ...

    @property
    def parks(self) -> bool:
        """Whether streams can be parked."""
        ...

    def open(self, stream: str, request: StreamRequest) -> None:
        """Begin a stream; what the model's `start` refuses is told as `Lost`."""
        ...

    def adopt(self, stream: str, past: Past) -> None:
        """Go on with a stream that another executor began.

        Its chunks from `past.shown_from` on come out (once more), then those that are submitted.
        """
        ...

    def submit(self, stream: str, controls: Controls) -> None:
        """Admit one more chunk of an open stream, now or as soon as the pace allows."""
        ...

    def submit_together(self, chunks: Sequence[tuple[str, Controls]]) -> None:
        """`submit` of a chunk of each of several streams, which may be made as one batch."""
        ...

    def drop(self, stream: str) -> None:
        """Barge-in: show nothing of this stream's chunks that are under way.

        Each is told as `Dropped` in its turn.
        """
        ...

    def park(self, stream: str) -> None:
        """Save a stream of which no chunk is under way, and free it; told as `Parked`."""
        ...

    def close(self, stream: str) -> None:
        """Free a stream; nothing is told of what was under way."""
        ...

    def next_s(self, now_s: float, under_way: int) -> float | None:
        """When one more chunk may be submitted; None: not before an event."""
        ...

    def poll(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Event]:
        """What happened since; waits up to `timeout_s` for something, or until one of `others`,
        which are connections or file descriptors, can be read."""
        ...

    def finish(self) -> list[Event]:
        """What is still under way, admitting nothing more."""
        ...


def make_chunk(executor: Executor, stream: str, controls: Controls) -> list[Finished]:
    """Submit a chunk, wait until it is admitted, and return those of all streams that are ready.

    Raises ValueError for what the model refuses.
    """
    executor.submit(stream, controls)
    done = finished(executor.poll(0.0))
    while executor.waiting:
        done += finished(executor.poll(_POLL_S))
    return done


def make_rest(executor: Executor) -> list[Finished]:
    """The chunks that are still under way. Raises ValueError for what the model refuses."""
    return finished(executor.finish())


def finished(events: Sequence[Event]) -> list[Finished]:
    """The finished chunks among events. Raises ValueError for a stream that was lost."""
    for event in events:
        if isinstance(event, Lost):
            raise ValueError(event.reason)
    return [event for event in events if isinstance(event, Finished)]
