"""Segments are told of in order, each exactly once, with what was heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

pytest.importorskip("livekit.rtc", exc_type=ImportError)

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from rollcast.client.errors import ProtocolError
from rollcast.client.livekit.lite import LiteEars
from rollcast.client.livekit.voice import Voice
from rollcast.client.talker import Spoken, Talker, Utterance


class Told(list[tuple[Any, ...]]):
    """A listener that writes down what it is told."""

    async def turned(self) -> None:
        self.append(("turned",))

    async def started(self) -> None:
        self.append(("started",))

    async def finished(self, position_s: float, interrupted: bool) -> None:
        self.append(("finished", position_s, interrupted))


class Speaker:
    """What plays: the test says how far it is."""

    def __init__(self) -> None:
        self.heard_us = 0.0
        self.mutes = 0

    def mute(self) -> float:
        self.mutes += 1
        return self.heard_us

    def unmute(self, pts_us: float) -> None:
        self.mutes -= 1

    async def reach(self, pts_us: float) -> None:
        while self.heard_us < pts_us:
            await asyncio.sleep(0)


class Server(Talker):
    """A talker without a stream: the test says how utterances go."""

    def __init__(self) -> None:
        self.answers = True
        self.made: list[Utterance] = []
        self._ids = count()

    def begin(self, rate: int) -> Utterance:
        self.made.append(Utterance(str(next(self._ids)), rate, rate))
        return self.made[-1]

    def interrupt(self) -> Coroutine[Any, Any, float]:
        for each in self.made:
            each.cut()
        return self._answer()

    async def _answer(self) -> float:
        if not self.answers:
            raise ProtocolError("no answer")
        return 0.0


@asynccontextmanager
async def speaking() -> AsyncIterator[tuple[Voice, Server, Speaker, Told]]:
    server, speaker, told = Server(), Speaker(), Told()
    voice = Voice(server, speaker, told)
    running = asyncio.create_task(voice.run())
    try:
        yield voice, server, speaker, told
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def rest() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def test_a_segment_is_over_when_its_sound_is_and_not_when_the_server_says_so() -> None:
    async with speaking() as (voice, _, speaker, told):
        utterance = voice.begin(24_000)
        await rest()
        assert told == [("turned",)]
        utterance.started.set()
        utterance.settle(Spoken(1_000, 2e6, is_cut=False))
        await rest()
        assert told == [("turned",), ("started",)]
        speaker.heard_us = 2e6
        await rest()
        assert told[2:] == [("finished", 1.0, False)]


async def test_segments_wait_for_those_before() -> None:
    async with speaking() as (voice, _, speaker, told):
        first, second = voice.begin(24_000), voice.begin(24_000)
        for utterance, end_us in ((second, 3e6), (first, 2e6)):
            utterance.started.set()
            utterance.settle(Spoken(500, end_us, is_cut=False))
        speaker.heard_us = 9e6
        await rest()
        assert told == [("turned",), ("started",), ("finished", 0.5, False)] * 2


async def test_a_cut_tells_how_much_was_heard_here() -> None:
    async with speaking() as (voice, _, speaker, told):
        utterance = voice.begin(24_000)
        waiting = voice.begin(24_000)
        utterance.started.set()
        await rest()
        speaker.heard_us = 1.9e6
        await voice.interrupt()
        utterance.settle(Spoken(800, 2e6, is_cut=True))  # the server believes in 100 ms more
        waiting.settle(Spoken(0, 2e6, is_cut=True))
        await rest()
        assert [each for each in told if each[0] == "finished"] == [
            ("finished", 0.7, True),
            ("finished", 0.0, True),
        ]
        assert speaker.mutes == 0


async def test_one_that_was_ending_is_cut_where_it_was() -> None:
    async with speaking() as (voice, _, speaker, told):
        utterance = voice.begin(24_000)
        utterance.started.set()
        utterance.settle(Spoken(800, 2e6, is_cut=False))
        speaker.heard_us = 1.95e6
        await rest()
        await voice.interrupt()
        await rest()
        assert told[-1] == ("finished", pytest.approx(0.75), True)


async def test_a_cut_when_all_was_heard_cuts_nothing() -> None:
    async with speaking() as (voice, _, speaker, told):
        utterance = voice.begin(24_000)
        utterance.started.set()
        await rest()
        speaker.heard_us = 2e6
        await voice.interrupt()
        utterance.settle(Spoken(800, 2e6, is_cut=False))
        await rest()
        assert told[-1] == ("finished", 0.8, False)
        await voice.interrupt()
        await rest()
        assert sum(each[0] == "finished" for each in told) == 1


async def test_what_is_begun_after_a_cut_is_not_cut() -> None:
    async with speaking() as (voice, _, speaker, _told):
        old = voice.begin(24_000)
        clearing = voice.interrupt()
        new = voice.begin(24_000)
        assert (old.is_cut, new.is_cut) == (True, False)
        assert speaker.mutes == 1  # at once
        await clearing
        assert speaker.mutes == 0


async def test_a_server_that_does_not_answer_leaves_nobody_mute() -> None:
    async with speaking() as (voice, server, speaker, _told):
        voice.begin(24_000)
        server.answers = False
        with pytest.raises(ProtocolError):
            await voice.interrupt()
        assert speaker.mutes == 0


def test_who_hangs_up_while_an_interruption_is_obeyed_is_gone() -> None:
    """As when the agent leaves the room at the same time."""
    ears = LiteEars()

    class Interrupted(Voice):
        def interrupt(self) -> Coroutine[Any, Any, None]:
            return ears.close()

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        ears.attach(Interrupted(Server(), Speaker(), ears))
        await ears.listen(websocket)

    app = Starlette(routes=[WebSocketRoute("/", socket)])
    with TestClient(app) as http, http.websocket_connect("/") as client:
        assert client.receive_json()["state"] == "connected"
        client.send_json({"type": "agent.interrupt"})
        with pytest.raises(WebSocketDisconnect):
            client.receive_json()
    assert not ears.is_listening
