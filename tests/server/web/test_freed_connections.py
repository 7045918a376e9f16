"""A connection that ends frees its encoder at once: no cycle waits for the garbage collector."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from rollcast.server.media.encoder import Encoders
from rollcast.server.session.session import Session
from rollcast.server.web import reader

from ..running import FailingPattern, RunningServer, Viewer, resume_message, running, until, viewing
from .slow_proxy import slow_proxy

pytestmark = pytest.mark.slow


@dataclass
class Kept:
    """What was made for connections and is still there."""

    encoders: list[weakref.ref[object]] = field(default_factory=list)
    sessions: list[weakref.ref[object]] = field(default_factory=list)

    @staticmethod
    def alive(refs: list[weakref.ref[object]]) -> int:
        return sum(ref() is not None for ref in refs)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """With the collector off."""
    kept = Kept()
    open_encoder, begin = Encoders.open, Session.__init__

    def opened(*given: object, **named: object) -> object:
        encoder = open_encoder(*given, **named)  # pyright: ignore[reportArgumentType]
        kept.encoders.append(weakref.ref(encoder))
        return encoder

    def begun(session: Session, *given: object) -> None:
        kept.sessions.append(weakref.ref(session))
        begin(session, *given)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Encoders, "open", opened)
    monkeypatch.setattr(Session, "__init__", begun)
    gc.collect()
    gc.disable()
    yield kept
    gc.enable()


async def leave(server: RunningServer, viewer: Viewer) -> None:
    """Without a word."""


async def close(server: RunningServer, viewer: Viewer) -> None:
    await viewer.say("session.close")
    await viewer.wait_closed()


async def cut(server: RunningServer, viewer: Viewer) -> None:
    viewer.socket.transport.abort()


async def be_wrong(server: RunningServer, viewer: Viewer) -> None:
    """Until the server has had enough."""
    for _ in range(5000):
        with suppress(ConnectionClosed):
            await viewer.socket.send("nonsense")
    await viewer.wait_closed()


async def make_mistakes(server: RunningServer, viewer: Viewer) -> None:
    """Of every kind that a connection survives."""
    too_long, picture = "x" * 70_000, "data:image/png;base64,AAAA"
    for message in (
        {"type": "no.such.type"},
        {"type": "prompt", "event_id": "a", "text": too_long},
        {"type": "prompt", "event_id": "b", "text": 3},
        {"type": "scene", "event_id": "c", "scene": "mars"},
        {"type": "picture", "event_id": "d", "picture": picture},
        {"type": "session.create"},
        {"type": "ack", "playhead_us": -1, "last_seq": 10**9},
        {"type": "hello", "versions": [1], "codecs": ["jpeg"]},
    ):
        await viewer.socket.send(json.dumps(message))
    for data in (b"", b"x" * 40, b"\x01" * 3000):
        await viewer.socket.send(data)
    await viewer.speak(np.zeros(16_000 * 40, np.int16), piece=1600)
    for _ in range(12):
        message = {"type": "picture", "event_id": "e", "picture": picture}
        await viewer.socket.send(json.dumps(message))
    await viewer.control("seed", seed=3)
    await viewer.say("session.close")
    await viewer.wait_closed()
    assert sum(m["type"] in ("error", "rejected") for m in viewer.messages) > 10


async def fall_silent(server: RunningServer, viewer: Viewer) -> None:
    await viewer.stop_acks()
    await viewer.wait_closed()


async def be_replaced(server: RunningServer, viewer: Viewer) -> None:
    async with viewing(server.ws, resume=resume_message(viewer), codecs=("h264",)) as again:
        assert await viewer.wait_closed() == 4409
        await again.say("session.close")
        await again.wait_closed()


async def be_refused_by_the_model(server: RunningServer, viewer: Viewer) -> None:
    await viewer.say("prompt", event_id="e", text="refuse")
    assert await viewer.wait_closed() == 4500


@pytest.mark.parametrize(
    "end",
    [leave, close, cut, be_wrong, make_mistakes, fall_silent, be_replaced, be_refused_by_the_model],
    ids=lambda end: end.__name__,
)
async def test_an_end_of_any_kind_frees_everything(
    kept: Kept, end: Callable[[RunningServer, Viewer], Awaitable[None]]
) -> None:
    async with running(lambda: [FailingPattern()], grace_s=0.2, idle_timeout_s=1.0) as server:
        for _ in range(3):
            async with viewing(server.ws, codecs=("h264",)) as viewer:
                await viewer.wait_frames(4)
                await end(server, viewer)
            del viewer
        await until(lambda: not kept.alive(kept.encoders))
        await until(lambda: not kept.alive(kept.sessions))
        assert len(kept.encoders) >= 3 and len(kept.sessions) >= 3


async def test_a_reader_that_stalls_frees_everything(kept: Kept) -> None:
    async with running(grace_s=0.2, send_timeout_s=0.5) as server:
        async with slow_proxy(server.port) as proxy:
            url = f"ws://127.0.0.1:{proxy.port}/v1/stream"
            async with viewing(url, codecs=("h264",)) as viewer:
                await viewer.wait_frames(4)
                proxy.cut()
                await viewer.wait_closed()
            del viewer
        await until(lambda: not kept.alive(kept.encoders) and not kept.alive(kept.sessions))


async def test_a_client_that_is_gone_while_its_answers_wait_frees_everything(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages are read no further until an answer has left, and none will."""
    monkeypatch.setattr(reader, "MOST_UNSENT", -1)
    async with running(grace_s=0.2) as server:
        async with viewing(server.ws, codecs=("h264",)) as viewer:
            await viewer.wait_frames(4)
            viewer.socket.transport.abort()
            await viewer.wait_closed()
        del viewer
        await until(lambda: not kept.alive(kept.encoders) and not kept.alive(kept.sessions))


async def test_a_shutdown_while_a_connection_is_closing_ends_in_order(kept: Kept) -> None:
    async with running() as server, viewing(server.ws, codecs=("h264",)) as viewer:
        await viewer.wait_frames(4)
        (protocol,) = server.server.server_state.connections
        protocol.conn.send_close(1000)  # pyright: ignore[reportAttributeAccessIssue]
        server.server.should_exit = True
        await viewer.wait_closed()
    await until(lambda: not kept.alive(kept.encoders) and not kept.alive(kept.sessions))


async def test_a_shutdown_frees_everything(kept: Kept) -> None:
    async with running() as server, viewing(server.ws, codecs=("h264",)) as viewer:
        await viewer.wait_frames(4)
        server.server.should_exit = True
        await viewer.wait_closed()
        await until(lambda: not kept.alive(kept.encoders) and not kept.alive(kept.sessions))
