"""What a server writes of its streams as films, and the clips that it gives of them."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any

from ..audience.channel import Format
from ..bounded_folder import BoundedFolder
from ..config import ServerConfig
from ..engine.hosted_stream import HostedStream
from ..logs import logger
from ..media.broadcast import Broadcast
from ..media.encoder import Encoders
from ..protocol.client_messages import SessionRecord
from ..protocol.errors import NotSupported, StreamError
from ..protocol.messages import answer, correlated
from ..protocol.server_messages import SessionRecording
from .clip_ring import ClipRing
from .movie import CODECS, KINDS, MovieKind, clip
from .recording import MovieShape, Recording
from .tape import Tape

_FULL = "the recording has ended: {}. The stream goes on"


class NoClip(LookupError):
    """There is no such stream, or not for this token."""


class Recordings:
    """The tapes of all streams; its methods run on the event loop.

    Raises OSError for a folder that cannot be written.
    """

    def __init__(
        self,
        config: ServerConfig,
        broadcast: Broadcast,
        encoders: Encoders,
        now_s: Callable[[], float],
    ) -> None:
        self._config = config
        self._broadcast = broadcast
        self._encoders = encoders
        self._now_s = now_s
        self._tapes: dict[tuple[str, MovieKind], Tape] = {}
        self._streams: dict[str, HostedStream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = logger("rollcast.recordings")
        self._folder = None
        if config.recordings_dir is not None:
            most = config.recordings_mb * 1_000_000
            endings = [f".{kind}" for kind in KINDS]
            self._folder = BoundedFolder(config.recordings_dir, most, endings)

    @property
    def may_ask(self) -> bool:
        """Whether a client decides if its stream is recorded."""
        return self._folder is not None and self._config.recordings_asked

    def begin(self, stream: HostedStream) -> None:
        """A stream begins here: keep its last seconds, and film it, as the operator decided.

        Of one that another server began the film goes on in a file here, as its client wished.
        """
        if self._config.clip_s:
            self._streams[stream.session_id] = stream
            self._soon(stream, self._keep_clip(stream))
        if self._folder is not None and (stream.film is not None or not self.may_ask):
            self._soon(stream, self._record(stream, stream.film, None))

    def wish(self, stream: HostedStream, message: SessionRecord) -> None:
        """Begin or end a recording for its client. Raises NotSupported where that may not be."""
        if not self.may_ask:
            raise NotSupported(
                "this server lets no client record on it",
                hint="Its operator may permit it: --recordings DIR --recordings-asked.",
            )
        act = self._record(stream, message.format, message.event_id) if message.on else None
        self._soon(stream, act or self._stop(stream, message.event_id), message)

    async def clip(
        self, session_id: str, token: str, seconds: float | None
    ) -> tuple[bytes, MovieKind]:
        """The last seconds of a stream, all that is kept of them if None.

        Raises NoClip, unless `token` is the stream's resume token and something is kept.
        """
        stream = self._streams.get(session_id)
        if stream is None or not hmac.compare_digest(
            stream.session.options.resume_token.encode(), token.encode()
        ):
            raise NoClip(session_id)
        rings = [tape for (name, _), tape in self._tapes.items() if name == session_id]
        tape = next((each for each in rings if each.ring is not None), None)
        pieces = [] if tape is None or tape.ring is None else tape.ring.last(seconds or 1e9)
        if tape is None or not pieces:
            raise NoClip(session_id)
        shape = tape.shape
        make = partial(clip, pieces, shape.kind, size=shape.size, fps=shape.fps)
        return await asyncio.to_thread(make), shape.kind

    async def close(self) -> None:
        """End every file, once the streams are closed."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(tape.finished() for tape in self._tapes.values()))

    # Private.

    def _soon(
        self,
        stream: HostedStream,
        work: Coroutine[Any, Any, None],
        cause: SessionRecord | None = None,
    ) -> None:
        async def guarded() -> None:
            try:
                await work
            except StreamError as error:
                self._log.error("no recording", session_id=stream.session_id, reason=str(error))
                if cause is not None:
                    stream.session.say(answer(correlated(error, cause)))
                    stream.notify()

        task = asyncio.create_task(guarded(), name="tape")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_clip(self, stream: HostedStream) -> None:
        tape = await self._tape(stream, self._usual_kind())
        tape.ring = ClipRing(self._config.clip_s)

    async def _record(
        self, stream: HostedStream, kind: MovieKind | None, event_id: str | None
    ) -> None:
        assert self._folder is not None
        for (name, _), each in self._tapes.items():
            if name == stream.session_id and each.recording is not None:
                self._tell(stream, each, event_id)
                return
        tape = await self._tape(stream, kind or self._usual_kind())
        name = f"{datetime.now():%Y%m%d-%H%M%S}-{stream.session_id}"
        file_s = self._config.recordings_minutes * 60
        tape.record(Recording(self._folder, name, tape.shape, file_s=file_s))
        stream.film = tape.shape.kind
        self._tell(stream, tape, event_id)
        self._log.info("recording", session_id=stream.session_id, kind=tape.shape.kind)

    async def _stop(self, stream: HostedStream, event_id: str | None) -> None:
        seconds, stream.film = 0.0, None
        for (name, _), tape in list(self._tapes.items()):
            if name == stream.session_id and (recording := tape.recording) is not None:
                await tape.stop()
                seconds = recording.seconds
                self._release(stream, tape)
        stream.session.say(SessionRecording(event_id=event_id, on=False, seconds=seconds))
        stream.notify()

    async def _tape(self, stream: HostedStream, kind: MovieKind) -> Tape:
        """The stream's packets of a kind. Raises StreamError where it cannot be encoded."""
        key: tuple[str, MovieKind] = (stream.session_id, kind)
        info = stream.session.info
        if key in self._tapes:
            return self._tapes[key]
        if CODECS[kind] not in self._encoders.usable(self._now_s()):
            raise NotSupported(
                f"{CODECS[kind]} cannot be encoded here, which {kind} has", field="format"
            )
        size = (info.width, info.height)
        shape = MovieShape(kind, size, info.fps, info.sample_rate is not None)
        tape = self._tapes[key] = Tape(shape, partial(self._failed, stream, kind))
        format_ = Format(CODECS[kind], "opus" if shape.sound else None)
        try:
            tape.channel = await self._broadcast.listen(stream.audience, format_, tape.tap)
        except BaseException:
            self._tapes.pop(key, None)
            raise
        over = asyncio.create_task(self._forget(stream, tape), name="tape-end")
        self._tasks.add(over)
        over.add_done_callback(self._tasks.discard)
        return tape

    async def _forget(self, stream: HostedStream, tape: Tape) -> None:
        """Behind the end of the stream."""
        await tape.over()
        await tape.finished()
        self._release(stream, tape, whole=True)
        self._streams.pop(stream.session_id, None)

    def _release(self, stream: HostedStream, tape: Tape, *, whole: bool = False) -> None:
        """Take no more packets, unless somebody needs them."""
        if not (whole or tape.is_idle):
            return
        self._tapes.pop((stream.session_id, tape.shape.kind), None)
        if tape.channel is not None:
            self._broadcast.leave(stream.audience, tape.channel, tape.tap)
        tape.end()

    def _failed(self, stream: HostedStream, kind: MovieKind, why: str) -> None:
        self._log.error("a recording ends", session_id=stream.session_id, reason=why)
        stream.film = None
        tape = self._tapes.get((stream.session_id, kind))
        if tape is not None:
            self._release(stream, tape)
        stream.session.say(SessionRecording(on=False, seconds=0.0, why=_FULL.format(why)))
        stream.notify()

    def _tell(self, stream: HostedStream, tape: Tape, event_id: str | None) -> None:
        recording = tape.recording
        seconds = 0.0 if recording is None else recording.seconds
        stream.session.say(
            SessionRecording(
                event_id=event_id, on=recording is not None, format=tape.shape.kind, seconds=seconds
            )
        )
        stream.notify()

    def _usual_kind(self) -> MovieKind:
        """MP4 where H.264 can be encoded."""
        usable = self._encoders.usable(self._now_s())
        return "mp4" if CODECS["mp4"] in usable else "webm"
