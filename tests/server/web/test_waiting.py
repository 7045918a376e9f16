"""Clients that wait for a place, over real sockets: their turns, and every way to lose one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from rollcast.client import Queued, Refused
from rollcast.client import connect as client_connect
from rollcast.server.web import in_line

from ..running import RunningServer, running, until, viewing
from .slow_proxy import slow_proxy

HELLO = {"type": "hello", "versions": [1], "codecs": ["jpeg"]}


@asynccontextmanager
async def caller(server: RunningServer, **create: Any) -> AsyncIterator[ClientConnection]:
    """A socket that has asked for a stream."""
    async with connect(server.ws, max_size=None) as socket:
        await socket.send(json.dumps(HELLO))
        await socket.recv()
        await socket.send(json.dumps({"type": "session.create", **create}))
        yield socket


async def heard(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of a type."""
    async with asyncio.timeout(20):
        while True:
            data = await socket.recv()
            if isinstance(data, str) and (message := json.loads(data))["type"] == kind:
                return message


async def test_places_go_to_who_waits_in_the_order_of_their_coming() -> None:
    async with running(max_sessions=1, max_waiting=3) as server:
        async with (
            viewing(server.ws) as first,
            caller(server, event_id="c1") as second,
            connect(server.ws, max_size=None) as third,
        ):
            await first.wait_frames(1)
            told = await heard(second, "queued")
            assert (told["position"], told["event_id"]) == (1, "c1")
            assert "eta_s" not in told and len(told["ticket"]) >= 12
            await third.send(json.dumps(HELLO))
            await third.send(json.dumps({"type": "session.create"}))
            assert (await heard(third, "queued"))["position"] == 2
            await first.say("session.close")
            await first.wait_closed()
            assert (await heard(second, "session.ready"))["event_id"] == "c1"
            told = await heard(third, "queued")
            assert told["position"] == 1
            assert told["eta_s"] == pytest.approx(0.5, abs=20), "as long as the first one stayed"
            await second.send(json.dumps({"type": "session.close"}))
            assert (await heard(third, "session.ready"))["resumed"] is False
        await until(lambda: not server.engine.streams.attached)
        text = server.engine.metrics.render().decode()
        assert "rollcast_waiting 0.0" in text and "rollcast_waited_seconds_count 2.0" in text


async def test_a_newcomer_does_not_take_the_place_of_who_waits() -> None:
    async with (
        running(max_sessions=1, max_waiting=2) as server,
        viewing(server.ws) as first,
        caller(server) as second,
    ):
        await heard(second, "queued")
        await first.say("session.close")
        await first.wait_closed()
        async with caller(server) as third:
            assert (await heard(second, "session.ready"))["session_id"]
            assert (await heard(third, "queued"))["position"] == 1


async def test_a_turn_is_kept_for_who_is_lost_and_comes_back() -> None:
    async with (
        running(max_sessions=1, max_waiting=3) as server,
        viewing(server.ws) as first,
    ):
        async with caller(server) as lost:
            ticket = (await heard(lost, "queued"))["ticket"]
        async with caller(server) as other:
            assert (await heard(other, "queued"))["position"] == 2
            async with caller(server, ticket=ticket) as back:
                told = await heard(back, "queued")
                assert (told["position"], told["ticket"]) == (1, ticket)
                await first.say("session.close")
                await heard(back, "session.ready")
            assert (await heard(other, "queued"))["position"] == 1


async def test_the_newer_of_two_connections_has_the_turn() -> None:
    async with (
        running(max_sessions=1, max_waiting=3) as server,
        viewing(server.ws),
        caller(server) as half_open,
    ):
        ticket = (await heard(half_open, "queued"))["ticket"]
        async with caller(server, ticket=ticket) as back:
            assert (await heard(back, "queued"))["position"] == 1
            assert (await heard(half_open, "error"))["code"] == "replaced"
            with pytest.raises(ConnectionClosed) as closed:
                await half_open.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4409
            assert len(server.engine.line) == 1


async def test_who_is_lost_is_passed_over_and_who_leaves_is_forgotten() -> None:
    async with (
        running(max_sessions=1, max_waiting=3) as server,
        viewing(server.ws) as first,
        caller(server) as leaves,
        caller(server) as waits,
    ):
        async with caller(server) as lost:
            await heard(lost, "queued")
        await heard(leaves, "queued")
        await heard(waits, "queued")
        await leaves.send(json.dumps({"type": "session.close"}))
        with pytest.raises(ConnectionClosed) as closed:
            await leaves.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000
        await first.say("session.close")
        assert (await heard(waits, "session.ready"))["type"] == "session.ready"
        assert len(server.engine.line) == 1


async def test_the_line_is_told_of_again_and_outlasts_the_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_line, "TELL_EVERY_S", 0.2)
    async with (
        running(max_sessions=1, max_waiting=1, hello_timeout_s=0.3) as server,
        viewing(server.ws) as first,
        caller(server) as waits,
    ):
        for _ in range(4):
            assert (await heard(waits, "queued"))["position"] == 1
        await waits.send(json.dumps({"type": "ping", "t_ms": 5}))
        assert (await heard(waits, "pong"))["t_ms"] == 5
        await waits.send(json.dumps({"type": "key", "event_id": "k"}))
        refused = await heard(waits, "error")
        assert (refused["code"], refused["event_id"]) == ("out_of_order", "k")
        await first.say("session.close")
        assert await heard(waits, "session.ready")


async def test_a_full_line_and_a_long_wait_end_as_a_full_server_does() -> None:
    async with (
        running(max_sessions=1, max_waiting=1, max_wait_s=0.5) as server,
        viewing(server.ws) as first,
        caller(server) as waits,
    ):
        await heard(waits, "queued")
        async with caller(server) as full:
            error = await heard(full, "error")
            assert (error["code"], error["fatal"]) == ("capacity", True)
            assert "1 wait already" in error["message"]
        error = await heard(waits, "error")
        assert (error["code"], error["message"]) == ("capacity", "no place came free in 0.5 s")
        with pytest.raises(ConnectionClosed) as closed:
            await waits.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4429
        assert len(server.engine.line) == 0
        await first.wait_frames(1)


async def test_who_waits_counts_for_the_quota() -> None:
    async with (
        running(max_sessions=1, max_waiting=4, max_per_client=2) as server,
        viewing(server.ws),
        caller(server) as second,
        caller(server) as third,
    ):
        await heard(second, "queued")
        error = await heard(third, "error")
        assert "2 streams at once" in error["message"]


async def test_a_place_that_nobody_watches_goes_to_who_waits() -> None:
    async with (
        running(max_sessions=1, max_waiting=1, unwatched_s=0.5) as server,
        viewing(server.ws, acks=False) as idle,
        caller(server) as waits,
    ):
        await heard(waits, "queued")
        assert await heard(waits, "session.ready")
        assert await idle.wait_closed() == 4429


async def test_a_server_that_drains_sends_the_line_away() -> None:
    async with (
        running(max_sessions=1, max_waiting=1) as server,
        viewing(server.ws),
        caller(server) as waits,
    ):
        await heard(waits, "queued")
        draining = asyncio.create_task(server.engine.drain())
        assert (await heard(waits, "error"))["code"] == "draining"
        await draining


async def test_the_python_client_waits_and_is_told_or_says_that_it_will_not() -> None:
    told: list[Queued] = []
    async with running(max_sessions=1, max_waiting=2) as server, slow_proxy(server.port) as proxy:
        async with client_connect(server.http) as first:
            with pytest.raises(Refused) as refused:
                async with client_connect(server.http, wait=False):
                    pass
            assert refused.value.code == "capacity"
            await until(lambda: len(server.engine.line) == 0)
            by_proxy = f"http://127.0.0.1:{proxy.port}"
            waiting = asyncio.create_task(_first_seq(by_proxy, told))
            await until(lambda: bool(told))
            proxy.cut()
            await until(lambda: len(told) >= 2)
            assert told[0].position == told[-1].position == 1
            assert told[0].ticket == told[-1].ticket
            await first.close()
        assert await waiting == 0


async def _first_seq(url: str, told: list[Queued]) -> int:
    async with client_connect(url, on_queued=told.append) as stream:
        frame = await anext(stream.frames())
        return frame.seq
