"""What all streams have in common: media that comes, the clock it is shown by, and reconnects."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from time import monotonic
from typing import Generic, Self, TypeVar

from .address import Address
from .channel import Channel, refusal
from .errors import ClientError, Disconnected, Refused
from .messages import (
    ErrorNotice,
    KeyRequest,
    ModelDescription,
    Outgoing,
    ServerHello,
    ServerMessage,
    SessionClose,
    SessionReady,
    SessionWatching,
    State,
    VideoFormat,
    Viewers,
)
from .playhead import Pace, Playhead
from .receiver import Receiver
from .shown import Audio, Decode, Frame
from .wire import Packet

ACK_AT_MOST_EVERY_S = 0.02
ACK_EVERY_S = 0.1
FIRST_RETRY_S = 0.1
MAX_RETRY_S = 2.0
LOOK_AGAIN_S = 0.01
RESUMABLE = frozenset(("timeout",))
"""Codes of fatal errors that end a connection and not its stream."""

Ready = TypeVar("Ready", SessionReady, SessionWatching)


class Viewing(ABC, Generic[Ready]):
    """A stream that is shown: iterate it for `Frame` and `Audio`."""

    def __init__(
        self, address: Address, channel: Channel, ready: Ready, pace: Pace, *, decode: Decode
    ) -> None:
        self._address = address
        self._channel = channel
        self._decode: Decode = decode
        self._receiver = Receiver(ready, decode)
        self._playhead = Playhead(pace, 1e6 / ready.fps)
        self._media_came = asyncio.Event()
        self._shown = asyncio.Event()
        self._connected = asyncio.Event()
        self._connected.set()
        self._end: ClientError | None = None
        self._acked = (-1, 0.0)
        self._tasks: list[asyncio.Task[None]] = []
        self.ready: Ready = ready
        self.state: State | None = None
        self.viewers = 0
        """How many watch it by a share link."""
        self.reconnects = 0

    @property
    def model(self) -> ModelDescription:
        """The model that makes the stream, and what it takes."""
        return next(each for each in self.hello.models if each.name == self.ready.model)

    @property
    def hello(self) -> ServerHello:
        """What the server offers: models, what each of them takes, codecs."""
        assert self._channel.hello is not None
        return self._channel.hello

    @property
    def position_us(self) -> float:
        """Media time that is shown now."""
        self._advance()
        return self._playhead.position_us

    @property
    def dropped_frames(self) -> int:
        """Frames that came and were not read in time."""
        return self._playhead.dropped

    @property
    def repeated_frames(self) -> int:
        """Frames that a server sent again though they had come, as none should."""
        return self._receiver.repeated

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame | Audio:
        while (media := self._playhead.read()) is None:
            if self._end is not None:
                raise self._end
            self._shown.clear()
            await self._shown.wait()
        self._media_came.set()
        return media

    async def frames(self) -> AsyncIterator[Frame]:
        """The frames alone, for those who do not listen."""
        async for media in self:
            if isinstance(media, Frame):
                yield media

    async def key(self) -> None:
        """Ask for a key frame, which comes with the next frames that are made."""
        await self._send(KeyRequest())

    def start(self) -> None:
        """Start taking media in; `connect` and `watch` have done it."""
        for run in (self._receive(), self._keep_time()):
            task = asyncio.create_task(run)
            task.add_done_callback(self._task_ended)
            self._tasks.append(task)

    async def close(self) -> None:
        """Leave at once; the server frees what it held for this client."""
        self._finish(Disconnected("the stream was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(Disconnected):
            await self._channel.send(SessionClose())
        await self._channel.close()

    # What the two kinds of streams do each in its own way.

    @abstractmethod
    async def _open_again(self, channel: Channel) -> None:
        """Go on over another socket. Raises Refused with the server's reason."""

    @property
    @abstractmethod
    def _patience_s(self) -> float:
        """For how long a lost stream is worth another try."""

    @property
    def _ack_every_s(self) -> float:
        """How often the server is told where the playhead is, in any case."""
        return ACK_EVERY_S

    @property
    def _ack_at_most_every_s(self) -> float:
        """And how often when there is news."""
        return ACK_AT_MOST_EVERY_S

    def _take(self, message: ServerMessage) -> None:
        """Act on a message of the kind that only this stream gets."""

    def _fail_waiting(self, reason: ClientError) -> None:
        """Nobody who waits for an answer will get one over this connection."""

    # Private.

    async def _receive(self) -> None:
        """Take in what the server sends until the stream ends; reconnect when the socket goes."""
        while self._end is None:
            try:
                await self._dispatch(await self._channel.receive())
            except Disconnected as lost:
                await self._reconnect(lost)
            except ClientError as error:
                self._finish(error)

    async def _keep_time(self) -> None:
        """Let media time run, and tell the server how far it is."""
        while self._end is None:
            self._media_came.clear()
            self._advance()
            try:
                await self._acknowledge()
            except Disconnected:
                await self._connected.wait()
            due_s = self._playhead.next_due_s()
            every_s = self._ack_every_s
            wait_s = every_s if due_s is None else min(every_s, due_s - monotonic())
            await _wait(self._media_came, max(wait_s, 0.001))

    async def _dispatch(self, message: ServerMessage | Packet) -> None:
        match message:
            case Packet():
                await self._take_media(message)
            case State():
                self.state = message
            case Viewers():
                self.viewers = message.count
            case VideoFormat():
                self._receiver.change_codec(message.codec)
            case ErrorNotice() if message.fatal and message.code in RESUMABLE:
                pass  # the socket is closed next, and the stream goes on over another
            case ErrorNotice() if message.fatal:
                self._finish(refusal(message))
            case _:
                self._take(message)

    async def _take_media(self, packet: Packet) -> None:
        media = await self._receiver.media(packet, monotonic())
        if media is not None:
            self._playhead.arrived(media, monotonic())
            self._media_came.set()
            self._shown.set()
        if self._receiver.should_ask_key(monotonic()):
            await self._channel.send(KeyRequest())

    def _advance(self) -> None:
        self._playhead.advance(monotonic())
        self._shown.set()

    async def _acknowledge(self) -> None:
        """Tell the server when more was shown, and now and then in any case."""
        seq, at_s = self._acked
        since_s = monotonic() - at_s
        news = self._playhead.last_seq != seq and since_s >= self._ack_at_most_every_s
        if news or since_s >= self._ack_every_s:
            self._acked = (self._playhead.last_seq, monotonic())
            await self._channel.send(self._playhead.ack())

    async def _send(self, message: Outgoing | bytes) -> None:
        while True:
            await self._connected.wait()
            if self._end is not None:
                raise self._end
            try:
                await self._channel.send(message)
                return
            except Disconnected:
                if not isinstance(message, bytes):
                    raise  # it may have been heard, and nobody would answer
                # media waits for the next connection; the reader notices the loss as well
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _reconnect(self, lost: Disconnected) -> None:
        """Go on over another socket, with growing pauses, or end the stream."""
        self._connected.clear()
        self._fail_waiting(lost)
        give_up_s = monotonic() + self._patience_s
        pause_s = FIRST_RETRY_S
        while self._end is None:
            try:
                await self._reconnect_once()
                return
            except Refused as refused:
                self._finish(refused)
            except (OSError, ClientError) as error:
                if monotonic() + pause_s > give_up_s:
                    self._finish(Disconnected(f"{lost}; could not resume: {error}"))
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_RETRY_S)

    async def _reconnect_once(self) -> None:
        channel = await Channel.open(self._address)
        try:
            await self._open_again(channel)
        except BaseException:
            await channel.close()
            raise
        self._channel = channel
        self.reconnects += 1
        self._connected.set()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """No reader waits for ever on a task that has died."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._finish(ClientError(f"the client failed: {error!r}"))

    def _finish(self, reason: ClientError) -> None:
        self._end = self._end or reason
        self._fail_waiting(reason)
        for event in (self._shown, self._media_came, self._connected):
            event.set()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
