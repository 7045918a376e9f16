"""Share links, over real sockets: who watches a stream, what he may do, and how it ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from rollcast.server.media.encoder import H264Encoder
from rollcast.server.protocol.packets import Flags
from rollcast.server.web.client_tokens import make_share_token

from ..running import RunningServer, Viewer, resume_message, running, until, viewing

SECRET = "a secret of sixteen bytes"


async def share(director: Viewer, **fields: Any) -> dict[str, Any]:
    """The answer to `session.share`."""
    director.events += 1
    event_id = f"s{director.events}"
    await director.say("session.share", event_id=event_id, **fields)
    return await director.wait_message(lambda said: said.get("event_id") == event_id)


async def link(director: Viewer) -> str:
    return (await share(director))["share_token"]


@asynccontextmanager
async def watching(
    server: RunningServer, token: str | None, **options: Any
) -> AsyncIterator[Viewer]:
    async with viewing(
        server.ws, token=token, resume={"type": "session.watch"}, **options
    ) as viewer:
        yield viewer


async def refused(server: RunningServer, token: str | None) -> dict[str, Any]:
    """The error that a link is met with, at hello or behind it."""
    async with connect(server.ws) as socket:
        hello = {"type": "hello", "versions": [1], "codecs": ["jpeg"], "token": token}
        await socket.send(json.dumps(hello))
        said = json.loads(await socket.recv())
        if said["type"] == "hello":
            await socket.send(json.dumps({"type": "session.watch"}))
            said = json.loads(await socket.recv())
        return said


async def test_one_encoding_is_shown_to_all_and_the_speaker_is_another_client() -> None:
    async with running() as server, viewing(server.ws) as director, AsyncExitStack() as stack:
        token = await link(director)
        # by twos, so that some come in the middle
        viewers = [
            await stack.enter_async_context(watching(server, token, codecs=["h264"]))
            for _ in range(2)
        ]
        await viewers[1].wait_frames(10)
        viewers += [
            await stack.enter_async_context(watching(server, token, codecs=["h264"]))
            for _ in range(2)
        ]
        speech = np.full(8000, 9000, np.int16)
        await director.speak(speech)
        for viewer in viewers:
            await viewer.wait(lambda viewer=viewer: any(any(p.payload) for p in viewer.audio))
            await viewer.wait_frames(12)
            ready = viewer.ready
            assert (ready["type"], ready["codec"], ready["fps"]) == ("session.watching", "h264", 25)
            assert ready["session_id"] == director.ready["session_id"]
            assert "resume_token" not in ready and "seed" not in ready
            assert viewer.video[0].flags & Flags.KEY
            seqs = [packet.seq for packet in viewer.video]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        bytes_of = [{p.seq: p.payload for p in viewer.video} for viewer in viewers]
        for each in bytes_of[1:]:
            common = each.keys() & bytes_of[0].keys()
            assert len(common) >= 4
            assert all(each[seq] == bytes_of[0][seq] for seq in common)
        pictures = viewers[0].frames()
        assert all(picture.shape == (128, 128, 3) for picture in pictures.values())
        await director.wait_message(lambda said: said == {"type": "viewers", "count": 4})
        listed = (await _get(f"{server.http}/v1/sessions")).json()
        assert [each["viewers"] for each in listed] == [4]
        assert "rollcast_viewers 4.0" in (await _get(f"{server.http}/metrics")).text


async def test_who_watches_may_do_nothing_else_and_is_told_so() -> None:
    async with running() as server, viewing(server.ws) as director:
        token = await link(director)
        async with watching(server, token) as viewer:
            await viewer.say("prompt", event_id="p", text="red")
            said = await viewer.wait_message(lambda said: said["type"] == "rejected")
            assert (said["event_id"], said["code"]) == ("p", "read_only")
            await viewer.speak(np.zeros(320, np.int16))
            said = await viewer.wait_message(lambda said: said["type"] == "error")
            assert (said["code"], said["seq"], said["fatal"]) == ("read_only", 0, False)
            for type_ in ("session.query", "session.share", "session.create"):
                await viewer.say(type_, event_id=type_)
                said = await viewer.wait_message(lambda s, t=type_: s.get("event_id") == t)
                assert said["code"] == "read_only"
            await viewer.say("ping", t_ms=1.0)
            await viewer.wait_message(lambda said: said["type"] == "pong")
            await viewer.say("session.close")
            assert await viewer.wait_closed() == 1000
        count = len(director.video)
        await director.wait_frames(count + 4)
        async with connect(server.ws) as socket:
            hello = {"type": "hello", "versions": [1], "codecs": ["jpeg"], "token": token}
            await socket.send(json.dumps(hello))
            assert json.loads(await socket.recv())["limits"]["max_viewers"] == 64
            await socket.send(json.dumps({"type": "session.create"}))
            assert json.loads(await socket.recv())["code"] == "read_only"
            await socket.send(json.dumps({"type": "session.watch"}))
            assert json.loads(await socket.recv())["type"] == "session.watching"


async def test_links_of_a_server_with_a_secret_are_good_for_their_time_and_stream() -> None:
    async with running(token=SECRET) as server, viewing(server.ws, token=SECRET) as director:
        name = director.ready["session_id"]
        soon = int(time.time()) + 60
        answer = await share(director, expires_in_s=60)
        assert abs(answer["expires_s"] - soon) <= 2
        async with watching(server, answer["share_token"]) as viewer:
            await viewer.wait_frames(2)
        # a backend that has the secret makes one by itself
        async with watching(server, make_share_token(SECRET, name, 0, soon)) as viewer:
            await viewer.wait_frames(2)
        wrong = [
            (make_share_token(SECRET, name, 0, int(time.time()) - 1), "unauthorized"),
            (make_share_token("another secret", name, 0, soon), "unauthorized"),
            (make_share_token(SECRET, "another", 0, soon), "unknown_session"),
            (make_share_token(SECRET, name, 1, soon), "session_expired"),
            (SECRET, "unauthorized"),
            (None, "unauthorized"),
        ]
        for token, code in wrong:
            said = await refused(server, token)
            assert (said["code"], said["fatal"]) == (code, True)
        bad = await share(director, expires_in_s=0)
        assert (bad["code"], bad["field"]) == ("invalid_field", "expires_in_s")


async def test_links_can_be_withdrawn() -> None:
    async with running() as server, viewing(server.ws) as director:
        old = await link(director)
        async with watching(server, old) as viewer:
            new = (await share(director, revoke=True))["share_token"]
            assert await viewer.wait_closed() == 4410
        assert (await refused(server, old))["code"] == "session_expired"
        async with watching(server, new) as viewer:
            await viewer.wait_frames(2)
            answer = await share(director, revoke=True, expires_in_s=0)
            assert "share_token" not in answer
            assert await viewer.wait_closed() == 4410


async def test_viewers_outlive_a_resume_and_end_with_the_stream() -> None:
    async with running(grace_s=60) as server, AsyncExitStack() as stack:
        director = await stack.enter_async_context(viewing(server.ws))
        viewer = await stack.enter_async_context(watching(server, await link(director)))
        await viewer.wait_frames(8)
        await director.leave()
        await viewer.wait_message(lambda said: said["type"] == "state" and said["paused"])
        back = await stack.enter_async_context(
            viewing(server.ws, resume=resume_message(director, len(director.video) - 1))
        )
        await back.wait_message(lambda said: said == {"type": "viewers", "count": 1})
        seen = len(viewer.video)
        await viewer.wait_frames(seen + 8)
        assert [packet.seq for packet in viewer.video] == list(
            range(viewer.video[0].seq, viewer.video[-1].seq + 1)
        )
        await back.say("session.close")
        assert await viewer.wait_closed() == 4410
        assert viewer.messages[-1]["message"] == "the stream is over"


async def test_a_viewer_that_acknowledges_nothing_disturbs_nobody() -> None:
    async with running() as server, viewing(server.ws) as director, AsyncExitStack() as stack:
        token = await link(director)
        slow = await stack.enter_async_context(watching(server, token, acks=False))
        good = await stack.enter_async_context(watching(server, token))
        await good.wait_frames(60)
        seqs = [packet.seq for packet in good.video]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        behind = len(slow.video)
        assert behind < 45
        # it shows what it has, and goes on with a key frame of now
        last = slow.video[-1]
        playhead_us = last.pts_us + 40_000
        await slow.say("ack", playhead_us=playhead_us, last_seq=last.seq)
        await slow.wait_frames(behind + 1)
        assert slow.video[behind].flags & Flags.KEY
        assert slow.video[behind].seq > last.seq + 1
        director_seqs = [packet.seq for packet in director.video]
        assert director_seqs == list(range(len(director_seqs)))
        assert server.engine.metrics.viewer_cuts._value.get() <= 1  # pyright: ignore


@pytest.mark.parametrize(
    ("setting", "what"),
    [({"max_viewers": 1}, "1 watch this stream"), ({"max_viewers_per_address": 1}, "one address")],
)
async def test_seats_are_counted(setting: dict[str, Any], what: str) -> None:
    async with running(**setting) as server, viewing(server.ws) as director:
        token = await link(director)
        async with watching(server, token) as first:
            await first.wait_frames(1)
            said = await refused(server, token)
            assert said["code"] == "capacity" and what in said["message"]
        stream = next(iter(server.engine.streams))
        await until(lambda: len(stream.audience) == 0)
        async with watching(server, token) as again:
            await again.wait_frames(1)


async def test_a_server_may_permit_no_viewers() -> None:
    async with running(max_viewers=0) as server, viewing(server.ws) as director:
        assert (await share(director))["code"] == "not_supported"


async def test_nothing_is_left_of_those_who_come_and_go() -> None:
    async with running() as server, viewing(server.ws) as director:
        token = await link(director)
        stream = next(iter(server.engine.streams))
        before = len(asyncio.all_tasks())
        for _ in range(5):
            async with AsyncExitStack() as stack:
                for _ in range(3):
                    await stack.enter_async_context(watching(server, token))
        await until(lambda: len(stream.audience) == 0)
        await until(lambda: len(asyncio.all_tasks()) <= before)


async def _get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.get(url)


async def test_an_encoder_that_fails_sends_its_viewers_away_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode, count = H264Encoder.encode, 0

    def failing(encoder: H264Encoder, *args: Any, **kwargs: Any) -> tuple[bytes, bool]:
        nonlocal count
        count += 1
        if count > 12:
            raise RuntimeError("the encoder broke")
        return encode(encoder, *args, **kwargs)

    monkeypatch.setattr(H264Encoder, "encode", failing)
    async with running() as server, viewing(server.ws) as director:
        token = await link(director)
        async with (
            watching(server, token, codecs=["h264", "jpeg"]) as viewer,
            watching(server, token, codecs=["jpeg"]) as other,
        ):
            assert await viewer.wait_closed() == 4500
            seen = len(other.video)
            await other.wait_frames(seen + 8)
            await director.wait_frames(len(director.video) + 8)
        monkeypatch.setattr(H264Encoder, "encode", encode)
        async with watching(server, token, codecs=["h264", "jpeg"]) as again:
            await again.wait_frames(2)
