"""`connect`: one live stream from Python, with its controls."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager

import numpy as np

from .address import Address
from .channel import Channel
from .errors import ClientError, Rejected
from .messages import (
    Applied,
    AudioCodec,
    Codec,
    ErrorNotice,
    Queued,
    RejectedNotice,
    ServerMessage,
    SessionCreate,
    SessionInfo,
    SessionReady,
    SessionResume,
    SessionShared,
    Speech,
    Stats,
)
from .picture_file import picture_text
from .playhead import Pace
from .shown import Decode
from .speech import SpeechFeed
from .steering import Steering
from .viewing import LOOK_AGAIN_S, Viewing
from .waiting import open_stream
from .wire import AUDIO_RATE

VIDEO_AHEAD_US = 200_000


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
    decode: Decode = True,
    pace: Pace = "clock",
    lead_chunks: float | None = None,
    record: bool = False,
    record_pictures: bool = False,
    tls: ssl.SSLContext | None = None,
    answer_timeout_s: float = 10.0,
    wait: bool = True,
    on_queued: Callable[[Queued], None] | None = None,
) -> AsyncIterator[Stream]:
    """Open a stream on the server at `url` and close it at the end of the block.

    `picture` is one of a face, as `load_picture` reads it, to be the avatar; `image`, as
    `load_image` reads it, is what the stream starts from or refers to. `audio_rate` is that
    of the speech you will send, 8000 to 48,000 samples per second, whatever the model hears; it
    comes back as you sent it, beside the frames that speak it.
    `audio_codec="opus"` sends sound both ways at an eighth of the bits; it takes speech of 8000,
    12,000, 16,000, 24,000 or 48,000 samples per second and gives 48,000. `max_kbps`, `max_width`,
    `max_height` and `max_fps` bound the video; `Stream.video` changes them.
    With `pace="clock"` media time runs like a clock, as for a live viewer, and what nobody reads
    is dropped; with `pace="reader"` it follows the reading and nothing is lost. `decode=False`
    leaves frames without images, for measuring; `decode="encoded"` gives their packets as
    `Frame.data`, for those who send them on. `lead_chunks`, 1.1 to 16, is how many chunks are made
    ahead of the playhead at most: fewer than the server's 1.7 for less delay beside it. With
    `record` you agree that the stream is written down, where the server permits it, and with
    `record_pictures` also what you show; `Stream.ready` says what is done. `tls`
    replaces the default verification, say for a self-signed certificate. Where all places are
    taken the client waits in the line, and `on_queued` is told its position and for how long; with
    `wait=False` it is refused.

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
        lead_chunks=lead_chunks,
        record=record,
        record_pictures=record_pictures,
    )
    channel, ready = await open_stream(address, request, wait=wait, tell=on_queued)
    stream = Stream(
        address, channel, ready, pace, feed, decode=decode, answer_timeout_s=answer_timeout_s
    )
    stream.start()
    try:
        yield stream
    finally:
        await stream.close()


class Stream(Viewing[SessionReady], Steering):
    """A live stream: iterate it for `Frame` and `Audio`, call `Steering`'s verbs to steer."""

    def __init__(
        self,
        address: Address,
        channel: Channel,
        ready: SessionReady,
        pace: Pace,
        feed: SpeechFeed,
        *,
        decode: Decode,
        answer_timeout_s: float,
    ) -> None:
        Viewing.__init__(self, address, channel, ready, pace, decode=decode)
        Steering.__init__(self, answer_timeout_s, feed)
        self.stats: Stats | None = None

    async def play_video(self, frames: Iterable[np.ndarray | bytes], fps: float) -> None:
        """Feed frames at `fps`, each a little before its moment: chunks are made ahead."""
        for number, frame in enumerate(frames):
            while self.position_us < number * 1e6 / fps - VIDEO_AHEAD_US:
                await asyncio.sleep(LOOK_AGAIN_S)
            await self.feed_video(frame)

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, and will not come back."""
        return self._end is not None

    def _take(self, message: ServerMessage) -> None:
        match message:
            case Applied() | SessionInfo() | SessionShared():
                self._settle(message.event_id, message)
            case RejectedNotice():
                error = Rejected(
                    message.code, message.message, field=message.field, hint=message.hint
                )
                self._settle(message.event_id, error)
            case Speech():
                self._hear_of(message)
            case Stats():
                self.stats = message
            case ErrorNotice():
                error = Rejected(
                    message.code, message.message, field=message.field, hint=message.hint or ""
                )
                self._settle(message.event_id, error)
            case _:
                pass

    def _hushed(self) -> AbstractContextManager[None]:
        return self._playhead.hushed()

    async def _tell_position(self) -> None:
        self._advance()
        await self._send(self._playhead.ack())

    @property
    def _url(self) -> str:
        return self._address.url

    @property
    def _patience_s(self) -> float:
        return self.ready.grace_s

    async def _open_again(self, channel: Channel) -> None:
        request = SessionResume(
            session_id=self.ready.session_id,
            resume_token=self.ready.resume_token,
            last_seq=self._receiver.last_seq,
        )
        self.ready = await channel.start(request)
        asking = asyncio.create_task(self._ask_what_is_over())
        self._tasks.append(asking)
        asking.add_done_callback(self._tasks.remove)

    def _fail_waiting(self, reason: ClientError) -> None:
        self._fail_answers(reason)
        if self._end is not None:
            self._fail_spoken(self._end)
