"""What a client sends is acted on in its turn; answers leave meanwhile, and pictures are awaited by
nothing but what must not overtake them."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import pytest

from rollcast.models.contract import PICTURE
from rollcast.server.media.pictures import PictureReader
from rollcast.server.protocol.errors import InvalidField
from rollcast.server.web.reader import MOST_BEHIND, MOST_UNSENT

from ...pictures import RED, portrait
from ..running import running, settled, until, viewing

pytestmark = pytest.mark.processes

TEXT = base64.b64encode(portrait(RED)).decode()


class SlowReader:
    """Looks at pictures when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = asyncio.Event()
        self.refuses = False
        read = PictureReader.read

        async def slowly(reader: PictureReader, *given: Any) -> bytes:
            await self.go.wait()
            if self.refuses:
                raise InvalidField("no picture", field="picture", event_id=given[2])
            return await read(reader, *given)

        monkeypatch.setattr(PictureReader, "read", slowly)


async def test_as_many_pings_as_are_permitted_at_once_are_all_answered() -> None:
    async with running() as server, viewing(server.ws, acks=False) as viewer:
        await viewer.wait_frames(1)
        viewer.socket.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
        for number in range(590):
            await viewer.say("ping", t_ms=number)
        await asyncio.sleep(0.2)
        viewer.socket.transport.resume_reading()  # pyright: ignore[reportAttributeAccessIssue]
        await viewer.wait_message(lambda m: m["type"] == "pong" and m["t_ms"] == 589)
        pongs = [m["t_ms"] for m in viewer.messages if m["type"] == "pong"]
        assert pongs == list(range(590)) and viewer.close_code is None


async def test_who_does_not_take_the_answers_is_not_read_until_it_does() -> None:
    async with running(send_timeout_s=60.0) as server, viewing(server.ws, acks=False) as viewer:
        (stream,) = server.engine.streams
        session = stream.session
        (protocol,) = server.server.server_state.connections
        await viewer.wait_frames(4)
        protocol.pause_writing()
        for number in range(590):
            await viewer.say("ping", t_ms=number)
        await until(lambda: session.unsent_messages >= MOST_UNSENT)
        assert await settled(lambda: session.unsent_messages // 20) <= (MOST_UNSENT + 20) // 20
        protocol.resume_writing()
        await viewer.wait_message(lambda m: m["type"] == "pong" and m["t_ms"] == 589)


async def test_acks_and_pings_are_heard_while_a_picture_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = SlowReader(monkeypatch)
    async with running(idle_timeout_s=2.0) as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(1)
        await viewer.say("picture", event_id="p", picture=TEXT)
        count = len(viewer.video)
        await viewer.wait_frames(count + 75)  # longer than the idle timeout, and acks arrived
        await viewer.say("ping", t_ms=7)
        await viewer.wait_message(lambda m: m["type"] == "pong")
        assert not any(m.get("event_id") == "p" for m in viewer.messages)
        slow.go.set()
        applied = await viewer.wait_message(lambda m: m.get("event_id") == "p")
        assert applied["scene"] == PICTURE


async def test_what_must_not_overtake_a_picture_waits_for_it_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = SlowReader(monkeypatch)
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(1)
        await viewer.say("picture", event_id="p", picture=TEXT)
        await viewer.say("scene", event_id="s", scene="grid")
        assert (await viewer.control("prompt", text="red"))["type"] == "applied"
        assert (await viewer.control("pause"))["type"] == "applied"
        assert (await viewer.control("resume"))["type"] == "applied"
        assert not any(m.get("event_id") in ("p", "s") for m in viewer.messages)
        slow.go.set()
        shown = await viewer.wait_message(lambda m: m.get("event_id") == "s")
        assert shown["scene"] == "grid", "the later one is shown"
        assert any(m.get("event_id") == "p" for m in viewer.messages)


async def test_what_waits_for_a_picture_goes_on_after_a_bad_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = SlowReader(monkeypatch)
    slow.refuses = True
    async with running() as server, viewing(server.ws) as viewer:
        for name in ("p", "q"):
            await viewer.say("picture", event_id=name, picture=TEXT)
        for number in range(MOST_BEHIND + 2):
            await viewer.say("scene", event_id=f"s{number}", scene="grid")
        over = await viewer.wait_message(lambda m: m.get("code") == "rate_limited")
        assert over["event_id"] == f"s{MOST_BEHIND - 1}", "one place is the second picture's"
        slow.go.set()
        for name in ("p", "q"):
            answer = await viewer.wait_message(lambda m, name=name: m.get("event_id") == name)
            assert (answer["type"], answer["field"]) == ("rejected", "picture")
        assert (await viewer.wait_message(lambda m: m.get("event_id") == "s0"))["scene"] == "grid"


async def test_a_client_that_leaves_does_not_wait_for_its_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    SlowReader(monkeypatch)
    async with running() as server:
        tasks = len(asyncio.all_tasks())
        async with viewing(server.ws) as viewer:
            await viewer.say("picture", event_id="p", picture=TEXT)
            await viewer.say("session.close")
            assert await viewer.wait_closed() == 1000
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_a_flood_of_mistakes_ends_the_connection_says_all_and_keeps_the_stream() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(1)
        for number in range(400):
            await viewer.socket.send(json.dumps({"type": "scene", "event_id": f"x{number}"}))
        assert await viewer.wait_closed() == 4429
        rejected = [m["event_id"] for m in viewer.messages if m["type"] == "rejected"]
        assert len(rejected) >= 300 and rejected == [f"x{n}" for n in range(len(rejected))]
        last = viewer.messages[-1]
        assert (last["code"], last["fatal"]) == ("rate_limited", True)
        assert last["retry_after_s"] == 5
        resume = {
            "type": "session.resume",
            "session_id": viewer.ready["session_id"],
            "resume_token": viewer.ready["resume_token"],
            "last_seq": viewer.shown_seq,
        }
        async with viewing(server.ws, resume=resume) as again:
            assert again.ready["resumed"]


async def test_what_waited_while_the_server_was_away_does_not_end_the_stream() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(1)
        time.sleep(4.0)  # the server is in this event loop
        for _ in range(1_500):
            await viewer.say("key")
        await viewer.say("ping", t_ms=1)
        await viewer.wait_message(lambda m: m["type"] == "pong")
        assert not [m for m in viewer.messages if m["type"] == "error"]
