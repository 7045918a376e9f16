"""Messages that are read together leave together, as the same messages in the same order."""

from __future__ import annotations

import asyncio
from typing import Any

from picows import WSTransport, ws_create_server

from rollcast.server.fleet.link import Link, connect
from rollcast.server.web.frame_head import frame_head

from ..running import until

SIZES = (0, 1, 125, 126, 127, 4_000, 16_384, 16_385, 70_000)


class Heard(Link):
    """Notes what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[bytes, bool]] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        self.hand_to(lambda data, is_text: self.heard.append((data, is_text)), lambda *_: None)


async def test_what_leaves_together_comes_as_it_was_sent() -> None:
    """To a client and to a server, whose frames are masked, with sizes of each kind of head."""
    accepted: list[Heard] = []

    def accept(_: Any) -> Heard:
        accepted.append(Heard())
        return accepted[-1]

    server = await ws_create_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    messages = [(bytes([65 + n]) * size, n % 2 == 0) for n, size in enumerate(SIZES * 2)]
    async with server:
        ours = await connect(f"ws://127.0.0.1:{port}/", {}, 1 << 20)
        heard: list[tuple[bytes, bool]] = []
        ours.hand_to(lambda data, is_text: heard.append((data, is_text)), lambda *_: None)
        await until(lambda: bool(accepted) and accepted[0]._transport is not None)
        for sender in (ours, accepted[0]):
            for number, (data, is_text) in enumerate(messages):
                # with others, alone, and one that is said between them
                sender.send(data, is_text=is_text, more=number % 3 != 2)
            sender.say(b"the end")
        await until(lambda: len(heard) > len(messages) and len(accepted[0].heard) > len(messages))
        assert heard == accepted[0].heard == [*messages, (b"the end", True)]
        assert not ours._held
        ours.let_go()


class Wire:
    """Notes what is written, each call of it."""

    is_disconnected = is_close_frame_sent = is_client_side = False

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.underlying_transport = self

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return 0


def over(wire: Wire) -> Link:
    ours = Link()
    ours._transport = wire  # type: ignore[assignment]
    return ours


def framed(data: bytes, *, is_text: bool = False) -> bytes:
    return frame_head(len(data), is_text=is_text) + data


async def test_one_system_call_for_many() -> None:
    wire = Wire()
    ours = over(wire)
    for number in range(5):
        ours.send(b"x" * 10, is_text=False, more=number < 4)
    await asyncio.sleep(0)
    assert wire.written == [framed(b"x" * 10) * 5]
