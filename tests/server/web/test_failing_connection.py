"""A mistake of ours ends one connection with 1011, and fills no log."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from rollcast.server.web.bounded_log import LINES
from rollcast.server.web.reader import Reader
from rollcast.server.web.websocket import Connection

from ..running import running, until, viewing


async def test_what_nobody_expected_closes_and_is_logged_so_many_times(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(Connection, "_open", broken)
    async with running() as server:
        with capture_logs() as lines:
            for _ in range(int(LINES.at_once) + 5):
                async with connect(server.ws) as socket:
                    with pytest.raises(ConnectionClosed):
                        await socket.recv()
                    assert socket.close_code == 1011
        failed = [line for line in lines if line["event"] == "a connection failed"]
        assert int(LINES.at_once) <= len(failed) <= int(LINES.at_once) + 2
        assert failed[0]["address"] == "127.0.0.1" and failed[0]["exc_info"]
    assert not [record for record in caplog.records if record.exc_info]


async def test_what_nobody_expected_in_a_stream_leaves_it_to_be_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(grace_s=60.0) as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(4)

        def broken(*_: object) -> None:
            raise RuntimeError("nobody expected this")

        monkeypatch.setattr(Reader, "_take", broken)
        assert await viewer.wait_closed() == 1011
        (stream,) = server.engine.streams
        await until(lambda: not stream.session.attached)
