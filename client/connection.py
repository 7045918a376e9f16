"""`connect`: one live stream from Python, with its controls, its clock and its reconnects."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Self

import numpy as np

from .address import Address
from .channel import Channel, refusal
from .errors import ClientError, Disconnected, Refused, Rejected
from .messages import (
    Applied,
    AudioCodec,
    Codec,
    ErrorNotice,
    KeyRequest,
    ModelDescription,
    Outgoing,
    RejectedNotice,
    ServerHello,
    ServerMessage,
    SessionClose,
    SessionCreate,
    SessionInfo,
    SessionReady,
    SessionResume,
    Speech,
    State,
    Stats,
    VideoFormat,
)
from .picture_file import picture_text
from .playhead import Pace, Playhead
from .receiver import Receiver
from .shown import Audio, Frame
from .speech import SpeechFeed
from .steering import Steering
from .wire import AUDIO_RATE, Packet

ACK_EVERY_S = 0.1
ACK_AT_MOST_EVERY_S = 0.02
FIRST_RETRY_S = 0.1
MAX_RETRY_S = 2.0
LOOK_AGAIN_S = 0.01
VIDEO_AHEAD_US = 200_000
RESUMABLE = frozenset(("timeout",))
"""Codes of fatal errors that end a connection and not its stream."""


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    model: str | None = None,
    scene: str | None = None,
    picture: bytes | None = None,
    image: bytes | None = None,
    prompt: str | None = None,
    seed: int | None = None,
    max_kbps: int | None = None,
    audio_rate: int = AUDIO_RATE,
    audio_codec: AudioCodec = "pcm",
    max_width: int | None = None,
    max_height: int | None = None,
    max_fps: int | None = None,
    codecs: tuple[Codec, ...] = ("h264", "vp8", "jpeg"),
    audio: bool = True,
    decode: bool = True,
    pace: Pace = "clock",
    tls: ssl.SSLContext | None = None,
    answer_timeout_s: float = 10.0,
) -> AsyncIterator[Stream]:
    """Open a stream on the server at `url` and close it at the end of the block.

    `picture` is one of a face, as `load_picture` reads it, to be the avatar; `image`, as
    `load_image` reads it, is what the stream starts from or refers to. `audio_rate` is that
    of the speech you will send, 8000 to 48,000 samples per second, whatever the model hears.
    `audio_codec="opus"` sends sound both ways at an eighth of the bits; it takes speech of 8000,
    12,000, 16,000, 24,000 or 48,000 samples per second and gives 48,000. `max_kbps`, `max_width`,
    `max_height` and `max_fps` bound the video; `Stream.video` changes them.
    With `pace="clock"` media time runs like a clock, as for a live viewer, and what nobody reads
    is dropped; with `pace="reader"` it follows the reading and nothing is lost. `decode=False`
    leaves frames without images, for measuring. `tls` replaces the default verification, say
    for a self-signed certificate.

    Raises Refused with the server's code, reason and hint; OSError when no server is there;
    ValueError for an `audio_rate` that the codec has not.
    """
    address = Address(url, token, tls, codecs, audio, audio_codec)
    feed = SpeechFeed(audio_rate, audio_codec)
    request = SessionCreate(
        model=model,
        scene=scene,
        picture=None if picture is None else picture_text(picture),
        image=None if image is None else picture_text(image),
        prompt=prompt,
        seed=seed,
        max_kbps=max_kbps,
        max_width=max_width,
        max_height=max_height,
        max_fps=max_fps,
        audio_codec=audio_codec,
        audio_rate=None if audio_codec == "opus" or audio_rate == AUDIO_RATE else audio_rate,
    )
    channel = await Channel.open(address)
    try:
        ready = await channel.start(request)
    except BaseException:
        await channel.close()
        raise
    receiver = Receiver(ready, decode)
    stream = Stream(address, channel, ready, receiver, pace, answer_timeout_s, feed)
    stream.start()
    try:
        yield stream
    finally:
        await stream.close()


class Stream(Steering):
    """A live stream: iterate it for `Frame` and `Audio`, call `Steering`'s verbs to steer."""

    def __init__(
        self,
        address: Address,
        channel: Channel,
        ready: SessionReady,
        receiver: Receiver,
        pace: Pace,
        answer_timeout_s: float,
        feed: SpeechFeed,
    ) -> None:
        super().__init__(answer_timeout_s, feed)
        self._address = address
        self._channel = channel
        self._receiver = receiver
        self._playhead = Playhead(pace, 1e6 / ready.fps)
        self._media_came = asyncio.Event()
        self._shown = asyncio.Event()
        self._connected = asyncio.Event()
        self._connected.set()
        self._end: ClientError | None = None
        self._acked = (-1, 0.0)
        self._tasks: list[asyncio.Task[None]] = []
        self.ready: SessionReady = ready
        self.state: State | None = None
        self.stats: Stats | None = None
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

    async def play_video(self, frames: Iterable[np.ndarray | bytes], fps: float) -> None:
        """Feed frames at `fps`, each a little before its moment: chunks are made ahead."""
        for number, frame in enumerate(frames):
            while self.position_us < number * 1e6 / fps - VIDEO_AHEAD_US:
                await asyncio.sleep(LOOK_AGAIN_S)
            await self.feed_video(frame)

    async def frames(self) -> AsyncIterator[Frame]:
        """The frames alone, for those who do not listen."""
        async for media in self:
            if isinstance(media, Frame):
                yield media

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
            wait_s = ACK_EVERY_S if due_s is None else min(ACK_EVERY_S, due_s - monotonic())
            await _wait(self._media_came, max(wait_s, 0.001))

    def start(self) -> None:
        """Start taking media in; `connect` has done it."""
        for run in (self._receive(), self._keep_time()):
            task = asyncio.create_task(run)
            task.add_done_callback(self._task_ended)
            self._tasks.append(task)

    async def close(self) -> None:
        """End the stream and free it on the server at once."""
        self._finish(Disconnected("the stream was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(Disconnected):
            await self._channel.send(SessionClose())
        await self._channel.close()

    async def _dispatch(self, message: ServerMessage | Packet) -> None:
        match message:
            case Packet():
                await self._take_media(message)
            case Applied():
                self._settle(message.event_id, message)
            case RejectedNotice():
                error = Rejected(
                    message.code, message.message, field=message.field, hint=message.hint
                )
                self._settle(message.event_id, error)
            case SessionInfo():
                self._settle(message.event_id, message)
            case Speech():
                self._over(message)
            case State():
                self.state = message
            case Stats():
                self.stats = message
            case VideoFormat():
                self._receiver.change_codec(message.codec)
            case ErrorNotice() if message.fatal and message.code in RESUMABLE:
                pass  # the socket is closed next, and the stream goes on over another
            case ErrorNotice() if message.fatal:
                self._finish(refusal(message))
            case ErrorNotice():
                error = Rejected(
                    message.code, message.message, field=message.field, hint=message.hint or ""
                )
                self._settle(message.event_id, error)
            case _:
                pass

    async def _take_media(self, packet: Packet) -> None:
        media = await self._receiver.media(packet, monotonic())
        if media is not None:
            self._playhead.arrived(media, monotonic())
            self._media_came.set()
            self._shown.set()
        if self._receiver.should_ask_key(monotonic()):
            await self._channel.send(KeyRequest())

    def _mute(self) -> None:
        self._playhead.mute()

    def _advance(self) -> None:
        self._playhead.advance(monotonic())
        self._shown.set()

    async def _acknowledge(self) -> None:
        """Tell the server when more was shown, and now and then in any case."""
        seq, at_s = self._acked
        since_s = monotonic() - at_s
        news = self._playhead.last_seq != seq and since_s >= ACK_AT_MOST_EVERY_S
        if news or since_s >= ACK_EVERY_S:
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
        """Resume within the server's grace time, with growing pauses, or end the stream."""
        self._connected.clear()
        self._fail_answers(lost)
        give_up_s = monotonic() + self.ready.grace_s
        pause_s = FIRST_RETRY_S
        while self._end is None:
            try:
                await self._resume_once()
                return
            except Refused as refused:
                self._finish(refused)
            except (OSError, ClientError) as error:
                if monotonic() + pause_s > give_up_s:
                    self._finish(Disconnected(f"{lost}; could not resume: {error}"))
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_RETRY_S)

    async def _resume_once(self) -> None:
        channel = await Channel.open(self._address)
        request = SessionResume(
            session_id=self.ready.session_id,
            resume_token=self.ready.resume_token,
            last_seq=self._receiver.last_seq,
        )
        try:
            self.ready = await channel.start(request)
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
        self._fail_answers(reason)
        self._fail_spoken(self._end)
        for event in (self._shown, self._media_came, self._connected):
            event.set()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
