"""Utterances that come faster than they are spoken: fed in time, and told how far each was heard.

A language model's voice comes as fast as it is made, in pieces, and is cut off when somebody
interrupts. `Talker` stands between that and a stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from .connection import Stream
from .errors import ClientError, Rejected
from .resampler import Resampler

AHEAD_S = 1.0
BLOCKS_PER_S = 10
LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Spoken:
    """How an utterance went: `played_ms` of it were heard by `pts_us` of media time.

    `is_cut`: it was interrupted, or the stream was lost; else all of it was heard.
    """

    played_ms: float
    pts_us: float
    is_cut: bool

    def heard_ms(self, shown_us: float) -> float:
        """How much of it one has heard for whom media time is only at `shown_us`."""
        return max(0.0, self.played_ms - max(0.0, self.pts_us - shown_us) / 1e3)


class Utterance:
    """Speech that grows: `write` it as it comes, then `end`; `over` says how it went.

    Samples are int16 mono, `given` per second; they are spoken at `wanted`.
    """

    def __init__(self, item_id: str, given: int, wanted: int) -> None:
        self.item_id = item_id
        self.over: asyncio.Future[Spoken] = asyncio.get_running_loop().create_future()
        self.started = asyncio.Event()
        """Its first sample is heard."""
        self.is_cut = False
        self._resampler = Resampler(given, wanted)
        self._blocks: deque[np.ndarray] = deque()
        self._is_ended = False
        self._changed = asyncio.Event()

    def write(self, samples: np.ndarray) -> None:
        """Add int16 [n]; without effect after its end."""
        if not self._is_ended:
            self._blocks.append(self._resampler.convert(samples))
            self._changed.set()

    def end(self) -> None:
        """Nothing more comes."""
        if not self._is_ended:
            self._blocks.append(self._resampler.rest())
            self._is_ended = True
            self._changed.set()

    def cut(self) -> None:
        """Drop what was not taken, and end."""
        self._is_ended = self.is_cut = True
        self._blocks.clear()
        self._changed.set()

    async def take(self, most: int) -> np.ndarray | None:
        """The next samples, at most so many; None at the end."""
        while not (self._blocks or self._is_ended):
            self._changed.clear()
            await self._changed.wait()
        if not self._blocks:
            return None
        block = self._blocks.popleft()
        if len(block) > most:
            self._blocks.appendleft(block[most:])
        return block[:most]

    def settle(self, spoken: Spoken) -> None:
        """Say how it went; the first one counts."""
        if not self.over.done():
            self.over.set_result(spoken)


class Talker:
    """Speaks through a stream, one utterance after the other, at most `ahead_s` before its time."""

    def __init__(self, stream: Stream, *, ahead_s: float = AHEAD_S) -> None:
        self._stream = stream
        self._ahead_s = ahead_s
        self._numbers = count(1)
        self._queue: asyncio.Queue[Utterance] = asyncio.Queue()
        self._open: list[Utterance] = []
        """In order, all whose end was not told yet."""
        self._feeding = asyncio.Lock()
        self._fed_until_us = 0.0
        self._listeners: set[asyncio.Task[None]] = set()

    def begin(self, rate: int) -> Utterance:
        """A new utterance, of speech at `rate` samples per second; it waits for those before."""
        item_id = f"item-{next(self._numbers)}"
        utterance = Utterance(item_id, rate, self._stream.audio_rate)
        self._open = [each for each in self._open if not each.over.done()]
        self._open.append(utterance)
        self._queue.put_nowait(utterance)
        return utterance

    async def run(self) -> None:
        """Feed what is written, for as long as the stream lasts. Raises what ended it."""
        try:
            while True:
                utterance = await self._queue.get()
                try:
                    await self._speak(utterance)
                except ClientError:
                    self._lose(utterance)
                    if self._stream.is_closed:
                        raise
        finally:
            for listener in self._listeners:
                listener.cancel()
            for utterance in self._open:
                self._lose(utterance)

    def interrupt(self) -> Coroutine[Any, Any, float]:
        """Barge in: every utterance that is not over is cut, now and not when this is awaited.

        Each says in `over` how far it came. Await what is returned to have the server obey: it
        gives the media time up to which what plays the sound has to be silent, or raises
        ClientError when the server does not answer; they are over all the same.
        """
        cut = [each for each in self._open if not each.over.done()]
        for utterance in cut:
            utterance.cut()
        return self._clear(cut)

    async def _clear(self, cut: list[Utterance]) -> float:
        try:
            async with self._feeding:
                answer = await self._stream.clear_audio()
                self._fed_until_us = 0.0
                return answer.pts_us
        except ClientError:
            for utterance in cut:
                self._lose(utterance)
            raise

    async def _speak(self, utterance: Utterance) -> None:
        """Feed one utterance to its end, or until it is cut."""
        block = await utterance.take(self._block)
        if block is None:
            # nothing of it came, and the server was never told of it
            utterance.settle(Spoken(0.0, self._stream.position_us, utterance.is_cut))
            return
        async with self._feeding:
            if utterance.is_cut:
                self._lose(utterance)
                return
            await self._stream.begin_audio(utterance.item_id)
            listener = asyncio.create_task(self._listen(utterance))
            self._listeners.add(listener)
            listener.add_done_callback(self._listeners.discard)
        while block is not None:
            await self._wait_for_room()
            async with self._feeding:
                if utterance.is_cut:
                    return
                await self._stream.feed(block)
                self._fed_until_us += len(block) * 1e6 / self._stream.audio_rate
            block = await utterance.take(self._block)
        while not await self._end(utterance):
            await asyncio.sleep(LOOK_EVERY_S)

    async def _end(self, utterance: Utterance) -> bool:
        """Tell the server that it is complete; False: who knows if it was heard, tell it again."""
        async with self._feeding:
            if utterance.is_cut:
                return True
            try:
                await self._stream.end_audio(utterance.item_id)
            except Rejected:
                return True  # it was heard the first time
            except ClientError:
                # a lost connection ends nothing: all of it was fed, and is being said
                if self._stream.is_closed:
                    raise
                return False
            return True

    @property
    def _block(self) -> int:
        return self._stream.audio_rate // BLOCKS_PER_S

    async def _wait_for_room(self) -> None:
        """Return when no more than is permitted waits on the server."""
        while self._fed_until_us > self._stream.position_us + 1e6 * self._ahead_s:
            await asyncio.sleep(LOOK_EVERY_S)
        self._fed_until_us = max(self._fed_until_us, self._stream.position_us)

    async def _listen(self, utterance: Utterance) -> None:
        """Hear from the server how it goes."""
        try:
            first = await self._stream.started(utterance.item_id)
            if first.phase == "started":
                utterance.started.set()
            over = await self._stream.spoken(utterance.item_id)
        except ClientError:
            self._lose(utterance)
            return
        utterance.settle(Spoken(over.played_ms, over.pts_us, over.phase == "cleared"))

    def _lose(self, utterance: Utterance) -> None:
        """It was never heard, or nobody will say how far."""
        utterance.cut()
        utterance.settle(Spoken(0.0, self._stream.position_us, is_cut=True))
