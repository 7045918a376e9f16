"""Mistakes, refusals, failures and slow networks on a real socket."""

import asyncio
import contextlib
import gc
import json
import os
import socket
import time
import weakref
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from rollcast.models.contract import StreamRequest
from rollcast.models.test_pattern import TestPattern, TestPatternState, read_barcode
from rollcast.server.engine.engine import TICK_S
from rollcast.server.protocol.limits import MAX_SOCKET_BYTES
from rollcast.server.protocol.packets import Kind

from ..running import (
    WAIT_S,
    FailingPattern,
    RunningServer,
    SlowPattern,
    resume_message,
    running,
    until,
    viewing,
)
from .slow_proxy import slow_proxy

HELLO = {"type": "hello", "versions": [1], "codecs": ["jpeg"]}


async def first_answer(url: str, *messages: str | bytes, **options: Any) -> dict[str, Any]:
    """The last message after sending these and getting an answer to each."""
    answer: dict[str, Any] = {}
    async with connect(url, **options) as socket:
        for message in messages:
            await socket.send(message)
            answer = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))
        if answer.get("fatal"):
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), WAIT_S)
        answer["close_code"] = socket.close_code
    return answer


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("nonsense", "bad_json"),
        ('{"type":"dance"}', "unknown_type"),
        ('{"type":"ping"}', "invalid_field"),
        ('{"type":"ping","t_ms":1,"t_s":2}', "invalid_field"),
        ('{"type":"session.create"}', "out_of_order"),
        ('{"type":"hello","versions":[1],"codecs":["jpeg"]}', "out_of_order"),
        (b"", "invalid_field"),
        (b"\x01\x01" + bytes(30), "unknown_type"),
        ('{"type":"ping","t_ms":1,"pad":"' + "x" * 70_000 + '"}', "too_large"),
    ],
)
async def test_a_mistake_is_answered_and_the_stream_goes_on(
    message: str | bytes, code: str
) -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.socket.send(message)
        error = await viewer.wait_message(lambda m: m["type"] == "error")
        assert error["code"] == code
        assert error["hint"] and not error["fatal"]
        count = len(viewer.video)
        await viewer.wait_frames(count + 8)


@pytest.mark.parametrize(
    ("type_", "fields", "code", "field"),
    [
        ("prompt", {"text": "x" * 501}, "invalid_field", "text"),
        ("scene", {"scene": "moon"}, "unknown_scene", "scene"),
        (
            "tracks",
            {"points": [{"id": n, "phase": "down", "x": 0, "y": 0} for n in range(17)]},
            "invalid_field",
            "points[16].id",
        ),
    ],
)
async def test_a_faulty_control_is_rejected_by_its_event(
    type_: str, fields: dict[str, Any], code: str, field: str
) -> None:
    async with running() as server, viewing(server.ws) as viewer:
        rejected = await viewer.control(type_, **fields)
        assert (rejected["type"], rejected["code"]) == ("rejected", code)
        assert rejected["field"] == field and rejected["hint"]


async def test_audio_beyond_the_queue_is_refused_and_what_is_queued_stays() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(4)
        await viewer.control("pause")
        await viewer.speak(np.full(31 * 16_000, 500, np.int16), piece=16_000)
        error = await viewer.wait_message(lambda m: m["type"] == "error")
        assert error["code"] == "audio_overflow"
        (stream,) = server.engine.streams
        assert 29_000 <= stream.session.queued_audio_ms <= 30_000


async def test_a_client_that_floods_is_refused_then_disconnected() -> None:
    async with (
        running(send_timeout_s=60.0) as server,
        viewing(server.ws) as viewer,
        asyncio.timeout(60),
    ):
        for number in range(700):
            await viewer.say("prompt", event_id=f"f{number}", text="red")
            if number % 50 == 0:  # what comes back is read, or it is cut off for that instead
                await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionClosed):
            while True:
                for _ in range(50):
                    await viewer.say("prompt", event_id="more", text="red")
                await asyncio.sleep(0)
        assert await viewer.wait_closed() == 4429
        refused = [m for m in viewer.messages if m.get("code") == "rate_limited"]
        assert refused[0]["type"] == "rejected"
        assert refused[-1]["fatal"]


async def test_a_message_over_a_mebibyte_closes_the_socket() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.socket.send(bytes(MAX_SOCKET_BYTES + 1))
        assert await viewer.wait_closed() == 1009


@pytest.mark.parametrize(
    ("hello", "code", "close"),
    [
        ({"versions": [2]}, "unsupported_version", 4400),
        ({"codecs": ["av1"]}, "unsupported_codec", 4400),
    ],
)
async def test_what_cannot_be_served_is_refused_at_hello(
    hello: dict[str, Any], code: str, close: int
) -> None:
    async with running() as server:
        answer = await first_answer(server.ws, json.dumps({**HELLO, **hello}))
        assert (answer["code"], answer["close_code"]) == (code, close)


@pytest.mark.parametrize(
    ("create", "code"),
    [({"model": "other"}, "unknown_model"), ({"scene": "moon"}, "unknown_scene")],
)
async def test_an_unknown_model_or_scene_leaves_the_socket_open(
    create: dict[str, Any], code: str
) -> None:
    async with running() as server, viewing(server.ws, acks=False, **create) as viewer:
        assert viewer.ready["code"] == code
        await viewer.say("session.create")
        await viewer.wait_message(lambda m: m["type"] == "session.ready")


async def test_controls_before_a_stream_are_out_of_order() -> None:
    pause = json.dumps({"type": "pause", "event_id": "e"})
    async with running() as server:
        answer = await first_answer(server.ws, json.dumps(HELLO), pause)
        assert (answer["type"], answer["code"]) == ("rejected", "out_of_order")


async def test_a_silent_socket_is_closed() -> None:
    async with running(hello_timeout_s=0.2) as server, connect(server.ws) as socket:
        error = json.loads(await socket.recv())
        assert error["code"] == "timeout"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4408


@pytest.mark.slow
async def test_a_stream_that_falls_silent_is_closed_and_may_be_resumed() -> None:
    async with running(idle_timeout_s=3.0) as server:
        async with viewing(server.ws, acks=False) as viewer:
            assert await viewer.wait_closed() == 4408
        await asyncio.sleep(3 * TICK_S)
        async with viewing(server.ws, resume=resume_message(viewer, -1)) as again:
            assert again.ready.get("resumed"), again.ready


async def test_past_capacity_a_client_is_refused_with_a_time_to_retry() -> None:
    async with running(max_sessions=1) as server, viewing(server.ws) as first:
        await first.wait_frames(1)
        answer = await first_answer(
            server.ws, json.dumps(HELLO), json.dumps({"type": "session.create"})
        )
        assert (answer["code"], answer["close_code"]) == ("capacity", 4429)
        assert answer["retry_after_s"] > 0
        await first.say("session.close")
        await first.wait_closed()
        async with viewing(server.ws) as second:
            await second.wait_frames(1)


async def test_capacity_is_measured_when_it_is_not_set() -> None:
    async with running(lambda: [SlowPattern(0.08)]) as server:
        assert server.engine.places.total == 1
        async with viewing(server.ws), viewing(server.ws, acks=False) as second:
            assert second.ready["code"] == "capacity"


async def test_clients_wait_while_the_model_loads() -> None:
    def load() -> list[SlowPattern]:
        return [SlowPattern(0.1)]

    async with running(load, wait_ready=False) as server:
        answer = await first_answer(
            server.ws, json.dumps(HELLO), json.dumps({"type": "session.create"})
        )
        assert (answer["code"], answer["retry_after_s"]) == ("capacity", 2)


def detail(server: RunningServer) -> str:
    """What went wrong with its model."""
    (model,) = server.engine.hosted.values()
    return model.detail


async def test_a_failed_model_ends_every_stream_and_turns_health_red() -> None:
    async with (
        running(lambda: [FailingPattern()]) as server,
        viewing(server.ws) as a,
        viewing(server.ws) as b,
    ):
        await b.wait_frames(4)
        await a.say("prompt", event_id="e", text="break")
        for viewer in (a, b):
            error = await viewer.wait_message(lambda m: m["type"] == "error")
            assert error["code"] == "engine_failed"
            assert await viewer.wait_closed() == 4500
        assert server.engine.health == "failed"
        assert "the model broke" in detail(server)
        await until(lambda: not server.engine.streams)
        answer = await first_answer(
            server.ws, json.dumps(HELLO), json.dumps({"type": "session.create"})
        )
        assert answer["code"] == "engine_failed"


async def test_a_prompt_that_the_model_refuses_ends_only_its_own_stream() -> None:
    async with (
        running(lambda: [FailingPattern()]) as server,
        viewing(server.ws) as a,
        viewing(server.ws) as b,
    ):
        await a.say("prompt", event_id="e", text="refuse")
        assert await a.wait_closed() == 4500
        count = len(b.video)
        await b.wait_frames(count + 8)
        assert server.engine.health == "ready"
        assert [s.session_id for s in server.engine.streams] == [b.ready["session_id"]]


async def test_a_broken_invariant_is_a_failure_not_a_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("a broken promise")

    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(4)
        with monkeypatch.context() as patch:
            patch.setattr("rollcast.server.session.session.Session.tick", broken)
            assert await viewer.wait_closed() == 4500
        assert server.engine.health == "ready"
        async with viewing(server.ws) as another:
            await another.wait_frames(4)


async def test_a_loop_that_fails_is_told_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    async with running() as server, viewing(server.ws) as viewer:
        with monkeypatch.context() as patch:
            patch.setattr("rollcast.server.engine.driver.Driver.submit_due", broken)
            await until(lambda: server.engine.health == "failed")
        await until(lambda: server.engine.health == "ready")
        count = len(viewer.video)
        await viewer.wait_frames(count + 8)


async def test_a_model_that_cannot_be_loaded_is_a_failure_not_a_silence() -> None:
    def load() -> list[SlowPattern]:
        raise FileNotFoundError("weights are missing")

    async with running(load) as server:
        assert server.engine.health == "failed"
        assert "weights are missing" in detail(server)


async def test_shutdown_tells_clients_waits_and_closes() -> None:
    async with running(drain_s=0.5) as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(4)
        server.server.should_exit = True
        notice = await viewer.wait_message(lambda m: m["type"] == "draining")
        assert notice["retry_after_s"] > 0
        count = len(viewer.video)
        await viewer.wait_frames(count + 4)
        error = await viewer.wait_message(lambda m: m["type"] == "error")
        assert error["code"] == "draining"
        assert await viewer.wait_closed() == 4503


async def test_messages_are_not_deflated_even_if_offered() -> None:
    async with running() as server, connect(server.ws, compression="deflate") as socket:
        assert socket.response is not None
        assert "sec-websocket-extensions" not in socket.response.headers


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:{port}", True),
        ("http://evil.example", False),
        ("http://127.0.0.1:1", False),
        ("null", False),
        ("http://partner.example", True),
    ],
)
async def test_pages_of_other_sites_may_not_open_streams(origin: str | None, allowed: bool) -> None:
    async with running(allowed_origins=("http://partner.example",)) as server:
        sent = None if origin is None else origin.format(port=server.port)
        async with connect(server.ws, origin=sent) as socket:  # pyright: ignore[reportArgumentType]
            if allowed:
                await socket.send(json.dumps(HELLO))
                assert json.loads(await socket.recv())["type"] == "hello"
            else:
                assert json.loads(await socket.recv())["code"] == "forbidden_origin"
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert socket.close_code == 4403


async def test_a_name_that_was_pointed_at_this_machine_is_refused() -> None:
    async with running() as server:
        url = f"ws://evil.example:{server.port}/v1/stream"
        async with connect(url, host="127.0.0.1", port=server.port) as socket:
            assert json.loads(await socket.recv())["code"] == "forbidden_origin"


@pytest.mark.parametrize(
    ("token", "code"), [("right", None), ("wrong", "unauthorized"), (None, "unauthorized")]
)
async def test_a_token_is_needed_when_one_is_set(token: str | None, code: str | None) -> None:
    hello = HELLO if token is None else {**HELLO, "token": token}
    async with running(token="right") as server:
        answer = await first_answer(server.ws, json.dumps(hello))
        assert answer.get("code") == code
        if code:
            assert answer["close_code"] == 4401


@pytest.mark.slow
async def test_a_slow_reader_gets_fewer_frames_and_stays_near_live() -> None:
    async with running() as server, slow_proxy(server.port, 50_000) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/v1/stream"
        async with viewing(url, audio=False) as viewer:
            (stream,) = server.engine.streams
            session = stream.session
            await until(lambda: session.skipped_frames > 0 and session.target_kbps < 400, 60)
            # Without skipping, a picture would be 4 s old by then.
            await until(lambda: viewer.playhead_us > 8e6, 60)
            late_ms = [
                arrived_s * 1e3 - packet.server_ms
                for arrived_s, packet in zip(viewer.arrived_s, viewer.packets, strict=True)
            ]
            assert max(late_ms) < 3000
            assert sorted(late_ms[-20:])[10] < 1500


async def test_a_stalled_network_does_not_pile_up_video() -> None:
    async with running() as server, slow_proxy(server.port, 200_000) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/v1/stream"
        async with viewing(url, audio=False, codecs=("h264",)) as viewer:
            await viewer.wait_frames(12)
            proxy.stalled = True
            await asyncio.sleep(1.5)
            proxy.stalled = False
            count = len(viewer.video)
            await viewer.wait_frames(count + 30)
            late_ms = viewer.arrived_s[-1] * 1e3 - viewer.packets[-1].server_ms
            assert late_ms < 1000
            shown = viewer.frames()
            assert all(read_barcode(picture) == seq for seq, picture in shown.items())


@pytest.mark.slow
async def test_a_long_path_costs_delay_and_no_frames() -> None:
    async with running() as server, slow_proxy(server.port, delay_s=0.1) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/v1/stream"
        async with viewing(url) as viewer:
            await until(lambda: viewer.playhead_us > 3e6, 60)
            (stream,) = server.engine.streams
            # None on an idle machine. Delay that was taken for congestion would skip nearly all.
            assert stream.session.skipped_frames < len(viewer.video) / 2


async def test_a_cut_network_is_resumed_where_it_broke() -> None:
    async with running() as server, slow_proxy(server.port) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/v1/stream"
        async with viewing(url) as viewer:
            await viewer.wait_frames(16)
            proxy.cut()
            await viewer.wait_closed()
        (stream,) = server.engine.streams
        await until(lambda: not stream.session.attached)
        async with viewing(url, resume=resume_message(viewer)) as again:
            await again.wait_frames(8)
            seqs = [packet.seq for packet in again.video]
            assert seqs == list(range(viewer.shown_seq + 1, viewer.shown_seq + 1 + len(seqs)))


async def test_nothing_remains_of_streams_that_were_closed() -> None:
    states: list[weakref.ref[object]] = []

    class Watched(TestPattern):
        def start(self, request: StreamRequest) -> TestPatternState:
            state = super().start(request)
            states.append(weakref.ref(state))
            return state

    sessions: list[weakref.ref[object]] = []
    async with running(lambda: [Watched()], grace_s=0.1) as server:
        tasks = len(asyncio.all_tasks())
        for number in range(10):
            async with viewing(server.ws, codecs=("h264",)) as viewer:
                (stream,) = server.engine.streams
                sessions.append(weakref.ref(stream.session))
                del stream
                await viewer.wait_frames(2)
                await viewer.say("session.close" if number % 2 else "key")
            await until(lambda: not server.engine.streams)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        del viewer

        def gone() -> bool:
            gc.collect()
            return not any(ref() for ref in (*sessions, *states))

        await until(gone)
        assert (len(sessions), len(states)) == (10, 11)


async def test_a_stream_is_freed_by_a_client_that_says_close_and_goes() -> None:
    async with running(grace_s=60.0) as server:
        for _ in range(20):
            async with viewing(server.ws) as viewer:
                await viewer.wait_frames(1)
                await viewer.say("session.close")
                viewer.socket.transport.close()
            # Long before the grace time is over.
            await until(lambda: not server.engine.streams)


async def test_an_abandoned_handshake_leaves_nothing() -> None:
    async with running() as server:
        tasks = len(asyncio.all_tasks())
        for messages in ([], [HELLO], [HELLO, {"type": "session.create"}]):
            async with connect(server.ws) as socket:
                for message in messages:
                    await socket.send(json.dumps(message))
                socket.transport.abort()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: all(not s.session.attached for s in server.engine.streams))


async def test_several_streams_share_the_model_fairly() -> None:
    async with (
        running(lambda: [SlowPattern(0.02)], max_sessions=3) as server,
        viewing(server.ws) as a,
        viewing(server.ws) as b,
        viewing(server.ws) as c,
    ):
        viewers = (a, b, c)
        await until(lambda: all(viewer.video for viewer in viewers), 60)
        before = [len(viewer.video) for viewer in viewers]

        def gained() -> list[int]:
            return [len(viewer.video) - at for viewer, at in zip(viewers, before, strict=True)]

        await until(lambda: min(gained()) > 40, 60)
        assert max(gained()) < 2 * min(gained())


async def test_media_is_the_only_binary_that_is_sent() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(4)
        assert {packet.kind for packet in viewer.packets} == {Kind.VIDEO, Kind.AUDIO_OUT}


@pytest.mark.slow
async def test_a_stall_of_the_server_ends_no_stream() -> None:
    """All that the client says meanwhile is read at once: three seconds are as good as 45."""
    async with running() as server, viewing(server.ws, acks=False) as viewer:
        ack = json.dumps({"type": "ack", "playhead_us": 0, "last_seq": -1}).encode()
        frame = bytes([0x81, 0x80 | len(ack), 0, 0, 0, 0]) + ack  # a text, masked with zeros
        raw = viewer.socket.transport.get_extra_info("socket")
        time.sleep(3.0)  # the loop of the server as well
        with socket.socket(fileno=os.dup(raw.fileno())) as shared:
            for _ in range(1400):
                assert shared.send(frame) == len(frame)
        await viewer.say("ping", t_ms=7)
        await viewer.wait_message(lambda message: message["type"] == "pong")
        assert not [each for each in viewer.messages if each["type"] == "error"]
        assert viewer.close_code is None
