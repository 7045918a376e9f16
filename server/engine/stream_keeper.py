"""Streams and how each of them ends: closed, failed, or in place of another; on the event loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping

from ..logs import logger
from ..metrics import Metrics
from ..protocol.errors import Ended, EngineFailed, StreamError
from .hosted_model import HostedModel
from .hosted_stream import HostedStream
from .stream_registry import StreamRegistry


class StreamKeeper:
    """The streams of these models. Whoever ends one does it here, so that nothing of it is left."""

    def __init__(
        self,
        hosted: Mapping[str, HostedModel],
        metrics: Metrics,
        freed: Callable[[HostedStream], None],
    ) -> None:
        """`freed` is told of each stream that has ended."""
        self.streams = StreamRegistry()
        self._hosted = hosted
        self._metrics = metrics
        self._freed = freed
        self._log = logger("rollcast.engine")

    def close(self, session_id: str) -> None:
        """Free a stream at once."""
        stream = self.streams.remove(session_id)
        if stream is None:
            return
        stream.count(self._metrics)
        stream.session.close()
        over = Ended("the stream is over", hint="Nothing to do: who showed it has ended it.")
        stream.audience.close(stream.session.failure or over)
        if stream.prompts is not None:
            stream.prompts.close()
        model = self._hosted[stream.model]
        # what is under way of it may never be told
        model.under_way.forget(session_id)
        model.host.close(session_id)
        self._freed(stream)
        self._log.info("session closed", session_id=session_id, chunks=stream.session.chunks)

    def fail(self, stream: HostedStream, error: StreamError) -> None:
        """End a stream: its connection says why and frees it, or it is freed here."""
        stream.session.fail(error)
        stream.notify()
        if stream.viewer is None:
            self.close(stream.session_id)

    def fail_all(self, streams: Iterable[HostedStream], error: Callable[[], StreamError]) -> None:
        """End streams, each with an error of its own."""
        for stream in streams:
            self.fail(stream, error())

    @contextlib.contextmanager
    def guard(self, stream: HostedStream) -> Iterator[None]:
        """What fails in this context ends this stream, and neither the loop nor the others."""
        try:
            yield
        except Exception:
            self._log.exception("a stream fails", session_id=stream.session_id)
            self.fail(stream, EngineFailed("the server failed at this stream"))
