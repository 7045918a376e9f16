"""Who neither watches nor speaks gives its place to who waits; quotas, durations, readiness."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from rollcast.server.protocol.packets import Flags, Kind, Packet
from rollcast.server.web.client_tokens import make_token

from ..running import running, until, viewing
from ..session.session_bench import Bench
from .test_reader import TEXT, SlowReader

HELLO = json.dumps({"type": "hello", "versions": [1], "codecs": ["jpeg"]})


def test_a_session_knows_when_it_was_last_watched_or_spoken_to() -> None:
    bench = Bench()
    bench.step()
    session = bench.session

    def after(seconds: float) -> float:
        bench.now_s += seconds
        return round(session.unwatched_s(bench.now_s), 6)

    assert after(5.0) == 5.0
    bench.ack(40_000)
    assert after(1.0) == 1.0
    bench.ack(40_000)
    assert after(1.0) == 2.0, "the same frame is no sign that anybody watches"
    payload = np.zeros(320, np.int16).tobytes()
    session.receive_audio(Packet(Kind.AUDIO_IN, Flags.NONE, 0, 0, 0, 0, 0, payload), bench.now_s)
    assert after(1.0) == 1.0


async def test_pings_alone_do_not_keep_a_place_from_who_waits() -> None:
    async with (
        running(max_sessions=2, unwatched_s=1.0) as server,
        viewing(server.ws) as watching,
        viewing(server.ws, acks=False) as squatting,
    ):
        await watching.wait_frames(1)
        stop = asyncio.get_running_loop().time() + 1.5
        while asyncio.get_running_loop().time() < stop:
            await squatting.say("ping", t_ms=1)
            await asyncio.sleep(0.1)
        assert squatting.close_code is None, "as long as nobody else wants the place"
        async with viewing(server.ws) as newcomer:
            assert newcomer.ready["type"] == "session.ready"
            assert await squatting.wait_closed() == 4429
            last = squatting.messages[-1]
            assert (last["code"], last["fatal"]) == ("capacity", True)
            assert last["retry_after_s"] > 0 and "watched" in last["message"]
            await newcomer.wait_frames(4)
            await asyncio.sleep(1.2)
            async with viewing(server.ws, acks=False) as late:
                assert late.ready["code"] == "capacity", "both are watched"
        assert watching.close_code is None


async def test_a_stream_that_was_lost_keeps_its_place_while_it_may_be_resumed() -> None:
    async with running(max_sessions=1, unwatched_s=0.0, grace_s=60.0) as server:
        async with viewing(server.ws) as viewer:
            await viewer.wait_frames(1)
        await until(lambda: not server.engine.streams.attached)
        async with viewing(server.ws, acks=False) as other:
            assert other.ready["code"] == "capacity"


async def test_one_client_has_no_more_streams_than_its_quota() -> None:
    async with running(max_per_client=1, max_sessions=4) as server:
        async with viewing(server.ws) as first:
            await first.wait_frames(1)
            async with viewing(server.ws, acks=False) as second:
                assert second.ready["code"] == "capacity"
                assert "1 streams at once" in second.ready["message"]
            await first.say("session.close")
            await first.wait_closed()
        async with viewing(server.ws) as again:
            assert again.ready["type"] == "session.ready"


async def test_a_stream_ends_after_the_longest_time_that_is_set() -> None:
    async with running(max_duration_s=1.0) as server, viewing(server.ws) as viewer:
        assert await viewer.wait_closed() == 4400
        last = viewer.messages[-1]
        assert (last["code"], last["fatal"]) == ("session_expired", True)
        await until(lambda: not server.engine.streams)


async def test_a_full_server_is_not_ready_and_has_no_places() -> None:
    async with running(max_sessions=2) as server, httpx.AsyncClient() as client:

        async def ready() -> tuple[int, bool, int]:
            answer = await client.get(f"{server.http}/ready")
            return answer.status_code, answer.json()["ready"], answer.json()["places"]

        assert await ready() == (200, True, 2)
        async with viewing(server.ws):
            assert await ready() == (200, True, 1)
            async with viewing(server.ws) as second:
                assert await ready() == (503, False, 0)
                await second.say("session.close")
                await second.wait_closed()
            assert await ready() == (200, True, 1)


@pytest.mark.parametrize("size", [70_000, 20_000])
async def test_before_hello_messages_are_small(size: int) -> None:
    async with running() as server, connect(server.ws) as socket:
        await socket.send(json.dumps({"type": "hello", "pad": "x" * size}))
        error = json.loads(await socket.recv())
        assert (error["code"], error["fatal"]) == ("too_large", False)
        await socket.send(HELLO)
        assert json.loads(await socket.recv())["type"] == "hello"


@pytest.mark.slow
async def test_who_shows_a_picture_first_has_the_place_while_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = SlowReader(monkeypatch)
    async with running(max_sessions=1) as server, connect(server.ws) as first:
        await first.send(HELLO)
        await first.recv()
        await first.send(json.dumps({"type": "session.create", "picture": TEXT}))
        await until(lambda: server.engine.free_places() == 0)
        async with viewing(server.ws, acks=False) as second:
            assert second.ready["code"] == "capacity"
        slow.go.set()
        assert json.loads(await first.recv())["type"] == "session.ready"
        assert len(server.engine.streams) == 1


async def test_a_place_is_free_again_when_the_picture_is_refused_or_its_client_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = SlowReader(monkeypatch)
    slow.refuses = True
    async with running(max_sessions=1) as server:
        for leaves in (True, False):
            async with connect(server.ws) as socket:
                await socket.send(HELLO)
                await socket.recv()
                await socket.send(json.dumps({"type": "session.create", "picture": TEXT}))
                await until(lambda: server.engine.free_places() == 0)
                if not leaves:
                    slow.go.set()
                    assert json.loads(await socket.recv())["field"] == "picture"
                    assert server.engine.free_places() == 1
            if leaves:
                slow.go.set()
            await until(lambda: server.engine.free_places() == 1)
            slow.go.clear()


async def test_what_is_wrong_anyway_is_said_before_a_picture_is_looked_at_or_a_place_lost() -> None:
    async with (
        running(max_sessions=1, unwatched_s=0.0) as server,
        viewing(server.ws, acks=False) as idle,
        viewing(server.ws, acks=False, picture=TEXT, scene="moon") as other,
    ):
        assert other.ready["code"] == "unknown_scene"
        await idle.wait_frames(1)
        assert idle.close_code is None


async def test_streams_of_one_subject_count_together_and_not_by_address() -> None:
    secret, later_s = "a secret of 20 chars", int(time.time()) + 60

    def token(subject: str) -> str:
        return make_token(secret, ["stream"], later_s, subject)

    async with (
        running(max_per_client=1, max_sessions=4, token=secret) as server,
        viewing(server.ws, token=token("ann")) as ann,
        viewing(server.ws, token=token("bob")) as bob,
        viewing(server.ws, token=token("")) as nobody,
        viewing(server.ws, token=make_token(secret, ["stream"], later_s + 5, "ann")) as again,
        viewing(server.ws, token=secret) as owner,
    ):
        opened = [each.ready["type"] for each in (ann, bob, nobody, again, owner)]
        assert opened == ["session.ready"] * 3 + ["error"] * 2, "the last two: ann, our address"
        assert again.ready["code"] == owner.ready["code"] == "capacity"
