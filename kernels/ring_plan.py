"""What a kernel is told about a ring of frames: plain integers, worked out on the host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

MAX_SPANS = 3
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Span:
    """`tokens` live tokens from token slot `start` on.

    `place` is the place in time of their first frame, for keys that are still to be rotated; the
    frames behind it follow without gaps.
    """

    start: int
    tokens: int
    place: int = 0


@dataclass(frozen=True, slots=True)
class FrameWrite:
    """`frames` frames of a call, from `source` on, go to frame slots from `slot` on."""

    source: int
    slot: int
    frames: int


@dataclass(frozen=True, slots=True)
class SinkFold:
    """`frames` evicted frames to be averaged into the sink, sink = alpha sink + (1 - alpha) frame.

    Evicted frame i lies in frame slot sink_frames + (gone + i) mod window_frames and belongs to
    sink frame (place + i) mod sink_frames.
    """

    sink_frames: int
    window_frames: int
    frames: int
    gone: int
    place: int
    alpha: float


def spans_of(order: Iterable[int], frame_tokens: int) -> tuple[Span, ...]:
    """The spans of a cache whose frame slot i holds the frame at place `order[i]`.

    Neighbouring slots with neighbouring places make one span; a ring with a sink has at most three.
    """
    runs: list[list[int]] = []
    for slot, place in enumerate(order):
        if runs and place == runs[-1][2] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([slot, 1, place])
    return tuple(Span(slot * frame_tokens, n * frame_tokens, place) for slot, n, place in runs)


def padded_spans(spans: Iterable[Span]) -> tuple[Span, Span, Span]:
    """Exactly three spans, empty ones at the end. Raises ValueError for more than three."""
    return _three(spans, Span(0, 0), "spans")


def padded_writes(writes: Iterable[FrameWrite]) -> tuple[FrameWrite, FrameWrite, FrameWrite]:
    """Exactly three writes, empty ones at the end. Raises ValueError for more than three."""
    return _three(writes, FrameWrite(0, 0, 0), "writes")


def _three(parts: Iterable[Part], empty: Part, name: str) -> tuple[Part, Part, Part]:
    given = tuple(parts)
    if len(given) > MAX_SPANS:
        raise ValueError(f"got {len(given)} {name}; a ring with a sink has at most {MAX_SPANS}")
    first, second, third = given + (empty,) * (MAX_SPANS - len(given))
    return first, second, third
