"""What an avatar in a room says, segment by segment, and what whoever sent it is told of each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..talker import Talker, Utterance


class Listener(Protocol):
    """Who is told, of one segment after the other, and of each exactly once."""

    async def turned(self) -> None:
        """The next segment is at its turn; nothing of it is heard yet."""
        ...

    async def started(self) -> None:
        """Its first sample is heard."""
        ...

    async def finished(self, position_s: float, interrupted: bool) -> None:
        """It is over, and so much of it was heard."""
        ...


class Sound(Protocol):
    """What plays it: `Playout`."""

    def mute(self) -> float: ...

    def unmute(self, pts_us: float) -> None: ...

    async def reach(self, pts_us: float) -> None: ...


@dataclass(slots=True)
class _Segment:
    utterance: Utterance
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    heard_us: float = 0.0
    """Media time that was heard last, once it is cut."""


class Voice:
    """Speaks segments in order through `talker` and tells `listener` how each went."""

    def __init__(self, talker: Talker, sound: Sound, listener: Listener) -> None:
        self._talker = talker
        self._sound = sound
        self._listener = listener
        self._open: deque[_Segment] = deque()
        self._came = asyncio.Event()

    def begin(self, rate: int) -> Utterance:
        """A new segment, of speech at `rate` samples per second."""
        segment = _Segment(self._talker.begin(rate))
        self._open.append(segment)
        self._came.set()
        return segment.utterance

    def interrupt(self) -> Coroutine[Any, Any, None]:
        """Silence at once, and not when this is awaited; all segments that are not over are cut.

        Await what is returned to have the server obey; it raises ClientError when that does not
        answer, and they are over all the same.
        """
        heard_us = self._sound.mute()
        for segment in self._open:
            if not segment.cut.is_set():
                segment.heard_us = heard_us
                segment.cut.set()
        return self._clear(heard_us, self._talker.interrupt())

    async def _clear(self, heard_us: float, answer: Coroutine[Any, Any, float]) -> None:
        until_us = heard_us
        try:
            until_us = await answer
        finally:
            self._sound.unmute(until_us)

    async def run(self) -> None:
        """Tell the listener, for as long as the avatar is there."""
        while True:
            while not self._open:
                self._came.clear()
                await self._came.wait()
            await self._follow(self._open[0])
            self._open.popleft()

    async def _follow(self, segment: _Segment) -> None:
        await self._listener.turned()
        utterance = segment.utterance
        started = asyncio.create_task(utterance.started.wait())
        try:
            await asyncio.wait({started, utterance.over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()
        if utterance.started.is_set() and not segment.cut.is_set():
            await self._listener.started()
        spoken = await asyncio.shield(utterance.over)
        if not spoken.is_cut:
            await self._until_heard(segment, spoken.pts_us)
        was_cut = segment.cut.is_set() and (spoken.is_cut or segment.heard_us < spoken.pts_us)
        until_us = segment.heard_us if was_cut else spoken.pts_us
        await self._listener.finished(spoken.heard_ms(until_us) / 1e3, was_cut or spoken.is_cut)

    async def _until_heard(self, segment: _Segment, pts_us: float) -> None:
        """Return when the sound is over there, or was cut before that."""
        waits = [asyncio.create_task(self._sound.reach(pts_us))]
        waits.append(asyncio.create_task(_wait(segment.cut)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
