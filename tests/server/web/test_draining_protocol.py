"""A client that says session.close and cuts its connection is heard, whatever the timing."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import State
from websockets.typing import BytesLike
from websockets.uri import parse_uri

from rollcast.server.protocol.client_messages import Ping

from ..running import RunningServer, running, until

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class BluntClient:
    """A blocking WebSocket client that can reset its connection between two turns of a loop."""

    def __init__(self, server: RunningServer) -> None:
        self._protocol = ClientProtocol(parse_uri(server.ws))
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        if server.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self._socket = context.wrap_socket(self._socket)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def open_stream(self) -> None:
        """Return once the stream is ready."""
        while self._protocol.state is not State.OPEN:
            self._received()
        self.say(type="hello", versions=[1], codecs=["jpeg"])
        self.say(type="session.create")
        while not any(b"session.ready" in data for data in self._received()):
            pass

    def say(self, **message: Any) -> None:
        self._protocol.send_text(json.dumps(message).encode())
        self._flush()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._socket.close()

    def _received(self) -> list[BytesLike]:
        self._protocol.receive_data(self._socket.recv(65_536))
        return [
            event.data for event in self._protocol.events_received() if isinstance(event, Frame)
        ]

    def _flush(self) -> None:
        self._socket.sendall(b"".join(self._protocol.data_to_send()))


async def say_close_and_cut(server: RunningServer) -> None:
    """In the next turn of the loop the writer comes first, and meets a socket that was reset."""
    client = await asyncio.to_thread(BluntClient, server)
    await asyncio.to_thread(client.open_stream)
    (stream,) = server.engine.streams
    assert stream.viewer is not None
    stream.session.receive(Ping(t_ms=1), server.engine.now_s())
    stream.viewer.notify()
    client.say(type="session.close")
    client.reset()
    await until(lambda: not server.engine.streams or not stream.session.attached)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_close_is_heard_although_a_write_failed_before_it_was_read(
    tls: bool, tmp_path: Path
) -> None:
    async with running(grace_s=600.0, self_signed=tls, state_dir=tmp_path) as server:
        for _ in range(5):
            await say_close_and_cut(server)
            assert not server.engine.streams


async def test_a_connection_that_breaks_without_a_word_leaves_its_stream_to_be_resumed() -> None:
    async with running(grace_s=600.0) as server:
        client = await asyncio.to_thread(BluntClient, server)
        await asyncio.to_thread(client.open_stream)
        (stream,) = server.engine.streams
        client.reset()
        await until(lambda: not stream.session.attached)
        assert list(server.engine.streams) == [stream]
