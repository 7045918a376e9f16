"""The beginning of a stream in its model: at once, or once its prompt is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...models.contract import StreamRequest
from ...models.pipeline.past import Past
from ...models.wan.text.reader import TextReader
from ..protocol.client_messages import Prompt
from ..protocol.errors import StreamError
from .hosted_stream import HostedStream
from .model_host import ModelHost
from .prompt_desk import PromptDesk, read
from .stream_keeper import StreamKeeper


class Opening:
    """Begins streams; `wake` is called when one of them may go on."""

    def __init__(
        self, keeper: StreamKeeper, now_s: Callable[[], float], wake: Callable[[], None]
    ) -> None:
        self._keeper = keeper
        self._now_s = now_s
        self._wake = wake
        self._reading: set[asyncio.Task[None]] = set()
        """Of streams whose prompt is being read."""

    def begin(self, host: ModelHost, stream: HostedStream, request: StreamRequest) -> None:
        """Begin a stream; where its prompt takes long to read, its session is held till then."""
        reader = host.reader
        if reader is None:
            host.open(stream.session_id, request)
            return

        stream.prompts = self._desk(reader, stream)
        if request.prompt is None or reader.has(request.prompt):
            reader.warm()
            host.open(stream.session_id, request)
            return
        stream.session.held = True
        reading = asyncio.create_task(self._begin_read(host, stream, request), name="open")
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)

    def go_on(self, host: ModelHost, stream: HostedStream, past: Past) -> None:
        """Go on with a stream that another server began: its prompts so far are known to be good.

        Where they take long to read, they are read once more when the model asks.
        """
        if host.reader is not None:
            stream.prompts = self._desk(host.reader, stream)
            host.reader.warm()
        host.adopt(stream.session_id, past)

    def cancel(self) -> None:
        """Begin none of those that wait."""
        for reading in self._reading:
            reading.cancel()

    def _desk(self, reader: TextReader, stream: HostedStream) -> PromptDesk:
        def deliver(prompt: Prompt) -> None:
            _acted(stream, prompt.event_id)
            stream.session.receive(prompt, self._now_s())
            self._wake()
            stream.notify()

        def refuse(error: StreamError) -> None:
            _acted(stream, error.event_id)
            stream.session.refuse(error)
            stream.notify()

        return PromptDesk(reader, deliver, refuse)

    async def _begin_read(
        self, host: ModelHost, stream: HostedStream, request: StreamRequest
    ) -> None:
        """Begin a stream behind the reading of its prompt, if it is still there then."""
        assert host.reader is not None and request.prompt is not None, "there is one to read"
        failed = await read(host.reader, request.prompt)
        if self._keeper.streams.get(stream.session_id) is not stream:
            return
        if failed is not None:
            self._keeper.fail(stream, failed)
            return
        host.open(stream.session_id, request)
        stream.session.held = False
        self._wake()


def _acted(stream: HostedStream, event_id: str | None) -> None:
    if stream.journal is not None and event_id is not None:
        stream.journal.acted(event_id)
