"""A gateway before servers of one fleet: a lost server is a pause, and no client hears of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from rollcast.models.test_pattern import read_barcode
from rollcast.server.fleet.http_call import call
from rollcast.server.protocol.errors import UnknownSession
from rollcast.server.protocol.packets import Kind
from rollcast.server.web import websocket
from rollcast.server.web.client_socket import ClientSocket

from ..running import Viewer, resume_message, until, viewing
from .neighbours import neighbours

pytestmark = pytest.mark.slow

SPEECH = (8000 * np.sin(np.arange(16_000) / 8)).astype(np.int16)


def check_video(viewer: Viewer, first: int = 0) -> None:
    """No frame from `first` on is missing or came twice.

    A server that is too slow leaves frames out, and says so; what lies between the last frame of
    one and the first of the next was promised.
    """
    assert viewer.video[0].seq == first
    for before, now in pairwise(viewer.video):
        assert now.seq > before.seq
        assert now.generation == before.generation or now.seq == before.seq + 1


def check_whole(viewer: Viewer) -> None:
    """No frame is missing or came twice, sound has no gap, and nothing was said of it."""
    check_video(viewer)
    for seq, picture in viewer.frames().items():
        assert read_barcode(picture) == seq % 65_536
    end = 0
    for number, packet in enumerate(viewer.audio):
        assert packet.seq == number
        begin = round(packet.pts_us * viewer.ready["sample_rate"] / 1e6)
        assert begin == end, (number, begin, end)
        end = begin + len(packet.payload) // 2
    assert not [m for m in viewer.messages if m["type"] in ("error", "rejected")]


async def test_a_stream_through_the_gateway() -> None:
    async with neighbours(1) as fleet, viewing(fleet.gateway.ws) as viewer:
        assert viewer.hello["type"] == "hello" and viewer.ready["model"] == "test-pattern"
        applied = await viewer.control("prompt", text="a blue wall")
        assert applied["type"] == "applied"
        await viewer.speak(SPEECH)
        await viewer.wait_frames(40)
        await viewer.say("session.close")
        assert await viewer.wait_closed() == 1000
        check_whole(viewer)
        assert any(packet.payload.strip(b"\0") for packet in viewer.audio), "it speaks"
        await until(lambda: not fleet.replicas["replica-0"].engine.streams.attached)
        assert not fleet.gateway.gateway.carriers


async def test_what_a_client_says_right_before_its_end_is_heard() -> None:
    """Both are read together, and no stream is left that waits for its client."""
    async with neighbours(1, grace_s=600.0) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.wait_frames(4)
        close = b'{"type":"session.close"}'
        end = (1000).to_bytes(2, "big")
        # masks of zero
        head = bytes((0x81, 0x80 | len(close))) + bytes(4)
        viewer.socket.transport.write(head + close + b"\x88\x82" + bytes(4) + end)
        await until(lambda: not len(fleet.replicas["replica-0"].engine.streams))


async def test_packets_that_leave_together_wait_for_none_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "TOGETHER_S", 60.0)
    async with neighbours(2) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.speak(SPEECH)
        await viewer.wait_frames(20)
        assert (await viewer.control("prompt", text="a blue wall"))["type"] == "applied"
        fleet.kill(fleet.of(viewer.ready["session_id"]))
        await viewer.wait_frames(50)
        check_whole(viewer)


async def test_the_first_frame_of_a_connection_waits_for_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever comes behind a loss may have nothing left to show."""
    sent: list[list[int]] = []
    send, send_now = ClientSocket.send, ClientSocket.send_now

    async def note(self: ClientSocket, data: bytes) -> None:
        sent.append([data[1]])
        await send(self, data)

    def note_together(self: ClientSocket, packets: Sequence[bytes]) -> bool:
        sent.append([each[1] for each in packets])
        return send_now(self, packets)

    monkeypatch.setattr(websocket, "TOGETHER_S", 60.0)
    monkeypatch.setattr(ClientSocket, "send", note)
    monkeypatch.setattr(ClientSocket, "send_now", note_together)
    async with neighbours(1) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.wait_frames(12)
        assert next(kinds for kinds in sent if Kind.VIDEO in kinds) == [Kind.VIDEO]
        assert any(len(kinds) > 1 for kinds in sent), "others leave together"


async def test_a_killed_replica_is_a_pause() -> None:
    # the sound that comes back is the client's own, and no copy at the model's rate
    async with neighbours(2) as fleet, viewing(fleet.gateway.ws, audio_rate=24_000) as viewer:
        await viewer.speak(SPEECH)
        await viewer.wait_frames(14)
        fleet.kill(fleet.of(viewer.ready["session_id"]))
        answers = [
            await viewer.control("prompt", text=f"a {name} wall") for name in ("red", "blue")
        ]
        assert [each["type"] for each in answers] == ["applied", "applied"]
        await viewer.wait_frames(90)
        check_whole(viewer)
        assert fleet.gateway.gateway.moves.failures == 1
        said = [m["event_id"] for m in viewer.messages if m["type"] == "applied"]
        assert len(said) == len(set(said)), "each answer comes once"
        played = np.concatenate([np.frombuffer(p.payload, "<i2") for p in viewer.audio])
        assert np.array_equal(played[played != 0], SPEECH[SPEECH != 0])


async def test_a_replica_that_takes_connections_and_hangs_is_passed_over() -> None:
    async with neighbours(2) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.wait_frames(12)
        waiting: list[asyncio.StreamWriter] = []
        hung = await asyncio.start_server(lambda _, w: waiting.append(w), "127.0.0.1", 0)
        port = hung.sockets[0].getsockname()[1]
        directory = fleet.gateway.directory
        directory.ledger.add("hung", f"http://127.0.0.1:{port}")
        directory.ledger.hear(
            "hung",
            ready=True,
            draining=False,
            models=("test-pattern",),
            places=9999,
            free=9999,
            chunk_s=0.16,
            streams=(),
            now_s=directory.now_s() + 60,
        )
        fleet.kill(fleet.of(viewer.ready["session_id"]))
        await viewer.wait_frames(len(viewer.video) + 30)
        hung.close()
        for writer in waiting:
            writer.transport.abort()
        assert waiting, "it was tried"
        check_whole(viewer)
        assert fleet.gateway.gateway.moves.failures == 1
        assert directory.ledger.replicas["hung"].suspect_until_s > 0


async def test_a_half_open_socket_is_noticed_by_its_silence() -> None:
    async with neighbours(2) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.wait_frames(12)
        carrier = fleet.gateway.gateway.carriers[viewer.ready["session_id"]]
        link = carrier._upstream
        assert link is not None and link._transport is not None
        link._transport.underlying_transport.pause_reading()
        await until(lambda: fleet.gateway.gateway.moves.failures == 1)
        await viewer.wait_frames(len(viewer.video) + 30)
        check_whole(viewer)


async def test_a_drained_replica_loses_no_frame() -> None:
    async with neighbours(2) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.wait_frames(20)
        moves = fleet.gateway.gateway.moves
        for number in range(1, 5):
            here = fleet.of(viewer.ready["session_id"])
            seen = len(viewer.video)
            fleet.gateway.directory.ledger.drain(here)
            await until(lambda number=number: moves.planned == number)
            assert fleet.of(viewer.ready["session_id"]) != here
            fleet.gateway.directory.ledger.replicas[here].condition = "ready"
            await viewer.wait_frames(seen + 12)
        check_whole(viewer)
        assert moves.failures == 0
        formats = [m["generation"] for m in viewer.messages if m["type"] == "video.format"]
        assert formats == sorted(set(formats)) and len(formats) == 4


async def test_the_film_of_a_stream_goes_on_where_it_is_gone_on_with(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"recordings_dir": tmp_path, "recordings_asked": True, "clip_s": 5.0}
    async with neighbours(2, **settings) as fleet, viewing(fleet.gateway.ws) as viewer:
        assert viewer.hello["limits"]["may_record"]
        await viewer.say("session.record", event_id="on", on=True, format="webm")
        await viewer.wait_message(lambda m: m.get("event_id") == "on")
        # files are named by the second
        await viewer.wait_frames(30)
        first = fleet.of(viewer.ready["session_id"])
        fleet.kill(first)
        await viewer.wait_message(
            lambda m: m["type"] == "session.recording" and len(list(tmp_path.iterdir())) > 1
        )
        await viewer.wait_frames(len(viewer.video) + 40)
        headers = {"authorization": f"Bearer {viewer.ready['resume_token']}"}
        clip = f"{fleet.gateway.http}/v1/sessions/{viewer.ready['session_id']}/clip"
        answer = await call("GET", clip, headers=headers)
        assert answer.status == 200 and "attachment" in answer.headers["content-disposition"]
        await viewer.say("session.record", event_id="off", on=False)
        off = await viewer.wait_message(lambda m: m.get("event_id") == "off")
        assert off["seconds"] > 1
    _, film = sorted(tmp_path.iterdir())
    with av.open(str(film), "r") as opened:
        shown = [read_barcode(f.to_ndarray(format="rgb24")) for f in opened.decode(video=0)]
    # a machine that is late leaves frames out of a film, and none comes twice
    assert len(shown) >= 30 and shown == sorted(set(shown))


async def test_a_client_that_lost_its_socket_resumes_after_its_replica_is_gone() -> None:
    async with neighbours(2) as fleet:
        async with viewing(fleet.gateway.ws) as viewer:
            await viewer.wait_frames(30)
        await until(lambda: bool(fleet.gateway.gateway.parked))
        fleet.kill(fleet.of(viewer.ready["session_id"]))
        resume = resume_message(viewer)
        async with viewing(fleet.gateway.ws, resume=resume) as again:
            assert again.ready["type"] == "session.ready" and again.ready["resumed"]
            assert again.ready["next_seq"] == viewer.shown_seq + 1
            await again.wait_frames(20)
            check_video(again, viewer.shown_seq + 1)
            for seq, picture in again.frames().items():
                assert read_barcode(picture) == seq


async def test_a_client_resumes_at_another_gateway() -> None:
    async with neighbours(2, gateways=2) as fleet:
        one, other = fleet.gateways
        async with viewing(one.ws) as viewer:
            await viewer.wait_frames(20)
        async with viewing(other.ws, resume=resume_message(viewer)) as again:
            assert again.ready["resumed"]
            await again.wait_frames(12)
            fleet.kill(fleet.of(viewer.ready["session_id"]))
            await again.wait_frames(40)
            check_video(again, viewer.shown_seq + 1)
            assert other.gateway.moves.failures == 1


async def test_what_one_gateway_kept_another_goes_on_with() -> None:
    async with neighbours(2, gateways=2) as fleet:
        one, other = fleet.gateways
        async with viewing(one.ws) as viewer:
            await viewer.wait_frames(20)
        await until(lambda: bool(one.gateway.parked))
        fleet.kill(fleet.of(viewer.ready["session_id"]))
        other.directory._gateways[:] = [one.http]
        async with viewing(other.ws, resume=resume_message(viewer)) as again:
            assert again.ready["resumed"] and again.ready["next_seq"] == viewer.shown_seq + 1
            await again.wait_frames(12)
            assert not one.gateway.parked


async def test_nobody_opens_streams_past_the_gateway() -> None:
    async with neighbours(1) as fleet, connect(fleet.replicas["replica-0"].ws) as socket:
        await socket.send(json.dumps({"type": "hello", "versions": [1], "codecs": ["jpeg"]}))
        answer = json.loads(await socket.recv())
        assert (answer["type"], answer["code"]) == ("error", "unauthorized")


async def test_who_watches_follows_the_stream() -> None:
    async with neighbours(2) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.wait_frames(10)
        await viewer.say("session.share", event_id="share", expires_in_s=60)
        shared = await viewer.wait_message(lambda m: m["type"] == "session.shared")
        watch = {"type": "session.watch"}
        async with viewing(fleet.gateway.ws, token=shared["share_token"], resume=watch) as watcher:
            assert watcher.ready["type"] == "session.watching"
            await watcher.wait_frames(10)
            generations = {packet.generation for packet in watcher.video}
            fleet.kill(fleet.of(viewer.ready["session_id"]))
            seen = len(watcher.video)
            await watcher.wait_frames(seen + 15)
            assert max(packet.generation for packet in watcher.video) > max(generations)
            times = [packet.pts_us for packet in watcher.video]
            assert times == sorted(times)
            assert watcher.close_code is None


async def test_who_finds_no_place_waits_for_one() -> None:
    async with neighbours(1, max_sessions=1) as fleet, viewing(fleet.gateway.ws) as first:
        await first.wait_frames(4)
        opening = asyncio.create_task(_opened(fleet.gateway.ws))
        await until(lambda: fleet.gateway.gateway.waiting == 1 or opening.done())
        assert not opening.done(), opening.result()
        await first.say("session.close")
        queued = await opening
        assert (queued["type"], queued["position"]) == ("queued", 1)


async def test_who_is_refused_by_a_replica_waits_for_a_place() -> None:
    """Two gateways whose ledgers know nothing of each other's latest stream."""
    async with neighbours(1, gateways=2, max_sessions=1) as fleet:
        one, other = fleet.gateways
        async with viewing(one.ws) as first:
            replica = other.directory.ledger.replicas["replica-0"]
            # as if it was not looked at since
            other.directory._tasks["replica-0"].cancel()
            replica.free, replica.streams = 1, {}
            other.directory.ledger.release(first.ready["session_id"])
            opening = asyncio.create_task(_opened(other.ws))
            await until(lambda: other.gateway.waiting == 1 or opening.done())
            assert not opening.done(), opening.result()
            await first.say("session.close")
            del other.directory._tasks["replica-0"]
            other.directory.add("replica-0", fleet.replicas["replica-0"].http)
            assert (await opening)["type"] == "queued"


async def _opened(url: str) -> dict[str, Any]:
    """The first answer to who has to wait, and then has a stream."""
    async with viewing(url) as viewer:
        await viewer.wait_frames(4)
        return viewer.ready


async def test_a_gateway_that_drains_takes_nobody_and_lets_its_clients_resume() -> None:
    async with neighbours(1) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.wait_frames(4)
        await fleet.gateway.gateway.drain()
        assert await viewer.wait_closed() == 1012
        with pytest.raises(InvalidStatus) as refused:
            await connect(fleet.gateway.ws)
        response = refused.value.response
        assert response.status_code == 503 and response.headers["Retry-After"] == "5"


async def test_page_and_rest_come_through_the_gateway() -> None:
    async with neighbours(2) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.wait_frames(4)
        http = fleet.gateway.http
        page = await call("GET", http + "/")
        assert page.status == 200 and b"<html" in page.body.lower()
        models = json.loads((await call("GET", http + "/v1/models")).body)
        assert [each["name"] for each in models] == ["test-pattern"]
        sessions = json.loads((await call("GET", http + "/v1/sessions")).body)
        assert [each["session_id"] for each in sessions] == [viewer.ready["session_id"]]
        ready = await call("GET", http + "/ready")
        assert ready.status == 200 and json.loads(ready.body)["sessions"] == 1
        name = viewer.ready["session_id"]
        assert (await call("DELETE", f"{http}/v1/sessions/{name}")).status == 204
        assert await viewer.wait_closed() == 4410
        moved = b"rollcast_gateway_moves_failure 0.0"
        assert moved in (await call("GET", http + "/metrics")).body


async def test_an_older_epoch_is_fenced_off() -> None:
    """A replica that was away still has the stream, and is told to forget it."""
    async with neighbours(2) as fleet, viewing(fleet.gateway.ws) as viewer:
        await viewer.wait_frames(12)
        session, gateway = viewer.ready["session_id"], fleet.gateway.gateway
        here = fleet.of(session)
        gateway.carriers[session].move("as if it hung")
        gateway.carriers[session].move("a second time at once")
        await until(lambda: gateway.moves.failures == 1)
        assert gateway.carriers[session].relay.epoch == 1
        old = fleet.replicas[here].engine
        await until(lambda: old.streams.get(session) is None)
        await viewer.wait_frames(40)
        check_whole(viewer)
        there = fleet.replicas[fleet.of(session)].engine
        assert there.streams.get(session).epoch == 1  # type: ignore[union-attr]
        with pytest.raises(UnknownSession):
            there.release(session, 0)
        assert gateway.moves.failures == 1, "one mover per stream"
