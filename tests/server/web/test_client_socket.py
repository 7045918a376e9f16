"""A client that does not read is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.websockets import WebSocketState

from rollcast.server.engine.stall_watch import StallWatch
from rollcast.server.metrics import Metrics
from rollcast.server.protocol.errors import Capacity, Timeout
from rollcast.server.protocol.server_messages import Pong
from rollcast.server.web.client_socket import ClientSocket


class FakeWebSocket:
    """Records what is sent; stalls when told to."""

    def __init__(self, *, stalls: bool) -> None:
        self.stalls = stalls
        self.sent: list[Any] = []
        self.headers = {"origin": "o", "host": "h"}
        self.application_state = WebSocketState.CONNECTED

    async def send_text(self, text: str) -> None:
        if self.stalls:
            await asyncio.Event().wait()
        self.sent.append(text)

    async def close(self, code: int, reason: str) -> None:
        self.sent.append((code, reason))


class FakeWire:
    """Remembers whether it was aborted."""

    def __init__(self) -> None:
        self.aborted = False

    def stream_opened(self) -> None: ...

    def in_line(self) -> None: ...

    def send_now(self, packets: Sequence[bytes]) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True


def socket(fake: Any, wire: FakeWire | None = None) -> ClientSocket:
    return ClientSocket(fake, wire or FakeWire(), Metrics(), StallWatch(0.0), send_timeout_s=0.05)


async def test_a_stalled_send_is_a_timeout_and_ends_the_connection_at_once() -> None:
    wire = FakeWire()
    with pytest.raises(Timeout, match=r"read nothing for 0\.05 s"):
        await socket(FakeWebSocket(stalls=True), wire).say(Pong(t_ms=1, server_ms=2))
    assert wire.aborted


async def test_a_fatal_error_is_said_and_then_closes_with_its_code() -> None:
    fake = FakeWebSocket(stalls=False)
    await socket(fake).refuse(Capacity("full", retry_after_s=3))
    assert '"capacity"' in fake.sent[0]
    assert fake.sent[1] == (4429, "capacity")
