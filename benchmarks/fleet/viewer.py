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
    """What one viewer saw: `shown` are seq and the moment, on the monotonic clock."""

    shown: list[tuple[int, float]] = field(default_factory=list)
    answers: int = 0
    unanswered: int = 0
    error: str = ""
    skipped: int = 0
    """Frames that the server says it left out, since the machine or the way was too slow."""
    dropped: int = 0
    """Frames that came and were not shown, since they came too late."""

    @property
    def missing(self) -> int:
        """Frames between those that were shown."""
        return sum(
            max(0, b - a - 1) for (a, _), (b, _) in zip(self.shown, self.shown[1:], strict=False)
        )

    @property
    def lost(self) -> int:
        """Frames that are missing and that nobody left out."""
        return max(0, self.missing - self.skipped - self.dropped)

    @property
    def repeated(self) -> int:
        """Frames that came again."""
        return sum(b <= a for (a, _), (b, _) in pairwise(self.shown))

    def longest_gap_s(self, from_s: float, to_s: float) -> float:
        """The longest time for which one frame stood there, of those that ended in this time."""
        times = [at_s for _, at_s in self.shown]
        gaps = [b - a for a, b in pairwise(times) if from_s <= b and a <= to_s]
        return max(gaps, default=float("inf"))


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
                seen.dropped = stream.dropped_frames
                seen.skipped = 0 if stream.stats is None else stream.stats.skipped_frames
                every: list[asyncio.Task[Any]] = [*tasks, watching, ended]
                for task in every:
                    task.cancel()
                await asyncio.gather(*every, return_exceptions=True)
    except (ClientError, OSError, TimeoutError) as error:
        seen.error = f"{type(error).__name__}: {error}"


async def _watch(stream: Stream, seen: Seen, keep: int | None) -> None:
    async for item in stream:
        if isinstance(item, Frame):
            seen.shown.append((item.seq, time.monotonic()))
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
        next_s += SPEAK_EVERY_S
        await asyncio.sleep(max(0.0, next_s - time.monotonic()))
