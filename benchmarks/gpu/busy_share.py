"""Which part of the time a device computes: with a chunk alone, and with two in flight.

Two are in flight as they are where it serves: the next chunk is asked for before the frames of one
are there, so that the device need not idle while they are copied and told of.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ...models.contract import Chunk, Controls
from ...models.staged_model import run_chunk
from ...models.wan.stream.model import WanModel
from ...models.yuv_frames import pixels_of
from .compiles import wall_ms

Span = tuple[float, float]
"""When a device was at work on something, from and to."""

DEPTHS = {"alone": 1, "in flight": 2}
"""How many chunks are under way at most."""
_COPIES = ("Memcpy", "Memset")


class Trace(Protocol):
    """Tells of a device."""

    def recorded(self, call: Callable[[], object]) -> list[Span]:
        """When it computed in `call`; when it only copied is left out."""
        ...


class CudaTrace:
    """That of torch's profiler, which slows the host a little."""

    def recorded(self, call: Callable[[], object]) -> list[Span]:
        """As `Trace.recorded`, in microseconds."""
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CUDA]) as made:
            call()
            torch.cuda.synchronize()
        return computing(made.events() or [])


def computing(events: Iterable[Any]) -> list[Span]:
    """When a device computed, of a profiler's events."""
    return [
        (each.time_range.start, each.time_range.end)
        for each in events
        if each.device_type == DeviceType.CUDA and not each.name.startswith(_COPIES)
    ]


def share_of(spans: Iterable[Span]) -> float:
    """Which part of the time between the first and the last of `spans` lies in any of them."""
    covered, begun, end = 0.0, None, float("-inf")
    for first, last in sorted(spans):
        begun = first if begun is None else begun
        covered += max(0.0, last - max(first, end))
        end = max(end, last)
    return covered / (end - begun) if begun is not None and end > begun else 0.0


def busy_shares(trace: Trace, model: WanModel, state: Any, chunks: int) -> dict[str, float]:
    """The share of `chunks` chunks for each of `DEPTHS`."""
    return {
        name: share_of(trace.recorded(lambda d=depth: list(in_flight(model, state, chunks, d))))
        for name, depth in DEPTHS.items()
    }


def period_ms(model: WanModel, state: Any, chunks: int, depth: int) -> float:
    """Milliseconds from the frames of one chunk to those of the next."""
    making = in_flight(model, state, chunks + 1, depth)
    next(making)
    begun = time.perf_counter()
    for _ in making:
        pass
    return wall_ms(begun) / chunks


def in_flight(model: WanModel, state: Any, chunks: int, depth: int) -> Iterator[int]:
    """How many frames each of `chunks` chunks has, once they are here.

    By then up to `depth` - 1 more have been asked for.
    """
    coming: deque[Chunk] = deque()
    for _ in range(chunks):
        coming.append(run_chunk(model, state, Controls()))
        if len(coming) == depth:
            yield shown(coming.popleft())
    yield from map(shown, coming)


def shown(chunk: Chunk) -> int:
    """How many frames it has, once they are here."""
    return len(pixels_of(chunk.pictures))
