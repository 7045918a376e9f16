"""A viewer who speaks and steers, and notes every frame that it is shown."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ...client import Frame, Stream, connect
from ...client.errors import ClientError

PROMPT_EVERY_S = 0.7
SPEAK_EVERY_S = 0.1
RATE = 16_000


@dataclass
class Seen:
    """What one viewer saw: `shown` are seq and the moment, on the monotonic clock.

    Over one connection between gateway and replica no frame can get lost, so one that did not come
    was left out by the replica, which says so in `stats`. A replica that goes on with a stream
    begins another generation, and its first frame has to follow on the last one of the replica
    before it: what lies between them was promised and is lost.
    """

    shown: list[tuple[int, float]] = field(default_factory=list)
    frames: int = 0
    moves: int = 0
    left_out: int = 0
    lost: int = 0
    repeated: int = 0
    """Frames that came again."""
    dropped: int = 0
    """Frames that came and that this process was too slow to read."""
    answers: int = 0
    unanswered: int = 0
    error: str = ""
    _last: tuple[int, int] | None = None

    def show(self, seq: int, generation: int, at_s: float) -> None:
        """A frame came; its numbers, and when."""
        if self._last is not None:
            before, its_generation = self._last
            if generation == its_generation:
                self.left_out += seq - before - 1
            else:
                self.moves += 1
                self.lost += seq - before - 1
        self._last = seq, generation
        self.frames += 1
        self.shown.append((seq, at_s))

    def longest_gap(self, from_s: float, to_s: float) -> tuple[float, float]:
        """The longest time for which one frame stood there, of those that were there in this time.

        Its length in seconds, and when it began. One that still stands there at `to_s` counts with
        the time until then.
        """
        times = [at_s for _, at_s in self.shown if at_s <= to_s]
        gaps = [(b - a, a) for a, b in pairwise([*times, to_s]) if from_s <= b]
        return max(gaps) if times else (float("inf"), from_s)


async def view(
    url: str, seen: Seen, until: asyncio.Event, *, speaks: bool = True, keep: int | None = None
) -> None:
    """Watch until told to stop; an error is noted, not raised. `keep`: only the latest frames."""
    try:
        async with connect(url, decode=False, answer_timeout_s=30.0) as stream:
            tasks = [asyncio.create_task(_steer(stream, seen))]
            if speaks:
                tasks.append(asyncio.create_task(_speak(stream)))
            watching = asyncio.create_task(_watch(stream, seen, keep))
            ended = asyncio.create_task(until.wait())
            try:
                await asyncio.wait((watching, ended), return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
            finally:
                seen.dropped, seen.repeated = stream.dropped_frames, stream.repeated_frames
                every: list[asyncio.Task[Any]] = [*tasks, watching, ended]
                for task in every:
                    task.cancel()
                await asyncio.gather(*every, return_exceptions=True)
    except (ClientError, OSError, TimeoutError) as error:
        seen.error = f"{type(error).__name__}: {error}"


async def _watch(stream: Stream, seen: Seen, keep: int | None) -> None:
    async for item in stream:
        if isinstance(item, Frame):
            seen.show(item.seq, item.generation, time.monotonic())
            if keep is not None and len(seen.shown) > keep:
                del seen.shown[: -keep // 2]


async def _steer(stream: Stream, seen: Seen) -> None:
    walls = ("a red wall", "a blue wall", "a green wall")
    number = 0
    while True:
        await asyncio.sleep(PROMPT_EVERY_S)
        number += 1
        try:
            await stream.prompt(walls[number % 3])
            seen.answers += 1
        except ClientError:
            seen.unanswered += 1


async def _speak(stream: Stream) -> None:
    count = int(RATE * SPEAK_EVERY_S)
    tone = (6000 * np.sin(np.arange(count) / 7)).astype(np.int16)
    next_s = time.monotonic()
    while True:
        with suppress(ClientError):
            await stream.feed(tone)
        # what could not be said for want of a connection is not said all at once
        next_s = max(next_s + SPEAK_EVERY_S, time.monotonic() - 10 * SPEAK_EVERY_S)
        await asyncio.sleep(max(0.0, next_s - time.monotonic()))
