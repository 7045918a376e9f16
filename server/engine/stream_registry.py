"""Every stream that the server holds, with or without a connection, and which were given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..protocol.client_messages import SessionResume
from ..protocol.errors import SessionExpired, UnknownSession
from .hosted_stream import HostedStream

REMEMBERED_SESSIONS = 256
_ASK = "Ask who shared it for another link."


class StreamRegistry:
    """Streams by session id."""

    def __init__(self) -> None:
        self._streams: dict[str, HostedStream] = {}
        self._given_up: deque[str] = deque(maxlen=REMEMBERED_SESSIONS)

    def __iter__(self) -> Iterator[HostedStream]:
        return iter(list(self._streams.values()))

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: HostedStream) -> None:
        """Hold a new stream."""
        self._streams[stream.session_id] = stream

    def get(self, session_id: str) -> HostedStream | None:
        """The stream, if it is held."""
        return self._streams.get(session_id)

    def remove(self, session_id: str) -> HostedStream | None:
        """Let go of a stream for good; it, if it was held."""
        stream = self._streams.pop(session_id, None)
        if stream is not None:
            self._given_up.append(session_id)
        return stream

    def to_resume(self, request: SessionResume) -> HostedStream:
        """The stream that a client may go on with. Raises a StreamError."""
        stream = self._streams.get(request.session_id)
        if stream is None:
            if request.session_id in self._given_up:
                raise SessionExpired("the stream was given up", field="session_id")
            raise UnknownSession("there is no such stream", field="session_id")
        stream.session.check_resume(request.resume_token, request.last_seq)
        return stream

    def to_watch(self, session_id: str, epoch: int) -> HostedStream:
        """The stream that a share link is of. Raises a StreamError."""
        stream = self._streams.get(session_id)
        if stream is None:
            if session_id in self._given_up:
                raise SessionExpired("the stream is over", hint=_ASK, fatal=True)
            raise UnknownSession("there is no such stream", hint=_ASK, fatal=True)
        if stream.audience.epoch != epoch:
            raise SessionExpired("the link was withdrawn", hint=_ASK, fatal=True)
        return stream

    def of_model(self, name: str) -> list[HostedStream]:
        """The streams of one model."""
        return [stream for stream in self if stream.model == name]

    @property
    def attached(self) -> list[HostedStream]:
        """Those that a client shows now."""
        return [stream for stream in self if stream.session.attached]
