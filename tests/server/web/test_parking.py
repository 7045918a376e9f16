"""Streams that stand still give their places to who waits, over real sockets and processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.registry import MODEL_FACTORY
from rollcast.models.test_pattern import read_barcode
from rollcast.server.cli.app import main
from rollcast.server.engine.model_host import ModelHost
from rollcast.server.engine.parking_lot import ParkingLot
from rollcast.server.stream_log.log_folder import LogFolder
from rollcast.server.stream_log.recorded import Recorded
from rollcast.server.stream_log.stream_logs import StreamLogs

from ...models.pipeline.running import PATIENT
from ..running import RunningServer, Viewer, resume_message, running, until, viewing
from .test_waiting import caller, heard

pytestmark = pytest.mark.processes
ARGUMENTS: dict[str, Any] = {"name": "test-pattern", "threads": 1}


@asynccontextmanager
async def one_place(logs: Path, **settings: Any) -> AsyncIterator[RunningServer]:
    """A server with one place, whose model is a process and whose streams are written down."""
    kept = StreamLogs.of(LogFolder(logs, 10**8))
    spec = ModelSpec(MODEL_FACTORY, ARGUMENTS)
    host = ModelHost(
        "test-pattern",
        lambda: Recorded(
            Pipeline(spec, patience=PATIENT),
            kept,
            model="test-pattern",
            arguments=ARGUMENTS,
            machine={"threads": "1"},
        ),
        logs=kept,
        backoff=Backoff(first_s=60.0, most_s=60.0),
    )
    settings = {"max_sessions": 1, "max_waiting": 3, "park_after_s": 0.2, **settings}
    async with running(hosts=[host], record_dir=logs, **settings) as server:
        yield server


async def parked(server: RunningServer, viewer: Viewer) -> dict[str, Any]:
    """What operators see of a stream."""
    async with httpx.AsyncClient() as client:
        reports = (await client.get(f"{server.http}/v1/sessions")).json()
    return next(each for each in reports if each["session_id"] == viewer.ready["session_id"])


def goes_on(viewer: Viewer) -> bool:
    """Whether each frame is the one that its number says, and none comes twice.

    On a busy machine some may be skipped.
    """
    seqs = [packet.seq for packet in viewer.video]
    shown = [read_barcode(frame) for _, frame in sorted(viewer.frames().items())]
    return shown == seqs == sorted(set(seqs))


def verify(path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(("replay", str(path), "--verify"))
    assert not end.value.code


@pytest.mark.parametrize("where", ["memory", pytest.param("disk", marks=pytest.mark.long)])
async def test_a_paused_stream_lets_another_play_and_goes_on_where_it_was(
    tmp_path: Path, where: str
) -> None:
    logs, folder = tmp_path / "logs", tmp_path / "parked"
    async with (
        one_place(logs, park_dir=folder) as server,
        viewing(server.ws, seed=5) as first,
    ):
        await first.control("prompt", text="a blue wall")
        await first.wait_frames(9)
        await first.control("pause")
        (stream,) = server.engine.streams
        await until(lambda: not server.engine.hosted["test-pattern"].under_way.total)
        if where == "disk":
            server.engine.parking.lot = ParkingLot(stream.session.kept_bytes, 10**6)
        async with viewing(server.ws, seed=6) as second:
            if second.ready["type"] == "queued":
                second.ready = await second.wait_message(lambda m: m["type"] == "session.ready")
            await second.wait_frames(8)
            assert (await parked(server, first))["parked"] == where
            assert not list(folder.iterdir()), "its files have no names"
            text = server.engine.metrics.render().decode()
            assert f'rollcast_parked{{where="{where}"}} 1.0' in text
            assert server.engine.parking.lot.used("memory") > 0
            await first.control("resume")
            told = await first.wait_message(lambda m: m.get("parked", {}).get("position") == 1)
            assert told["type"] == "stats"
            frames = len(first.video)
            async with caller(server) as third:
                assert (await heard(third, "queued"))["position"] == 2, "behind who comes back"
            assert len(first.video) == frames
            await second.say("session.close")
            await second.wait_closed()
        await first.wait_frames(frames + 12)
        assert (await parked(server, first))["parked"] is None
        assert server.engine.parking.lot.used("memory") == 0
        assert goes_on(first)
        assert len(server.engine.parking) == 0
        await first.say("session.close")
        await first.wait_closed()
    for path in logs.iterdir():
        verify(path)


async def test_a_lost_stream_is_parked_and_resumed_at_its_turn(tmp_path: Path) -> None:
    async with one_place(tmp_path / "logs", grace_s=20.0) as server:
        async with viewing(server.ws, seed=5) as first:
            await first.wait_frames(6)
        await until(lambda: not server.engine.streams.attached)
        async with caller(server) as second:
            await heard(second, "session.ready")
            await until(lambda: len(server.engine.parking) == 1)
            async with viewing(server.ws, resume=resume_message(first)) as back:
                assert back.ready["resumed"]
                await back.wait_message(lambda m: m.get("parked", {}).get("position") == 1)
            # its turn is kept
            await until(lambda: len(server.engine.streams.attached) == 1)
            async with viewing(server.ws, resume=resume_message(back)) as again:
                await again.wait_message(lambda m: m.get("parked", {}).get("position") == 1)
                await second.close()
                await again.wait_frames(24)
                assert goes_on(again)
                assert min(packet.seq for packet in again.video) > back.shown_seq


async def test_a_stream_that_nobody_watches_comes_back_when_it_is_watched(tmp_path: Path) -> None:
    async with (
        one_place(tmp_path / "logs", unwatched_s=0.5) as server,
        viewing(server.ws) as first,
    ):
        await first.wait_frames(6)
        await first.stop_acks()
        async with caller(server) as second:
            await heard(second, "session.ready")
            assert (await parked(server, first))["parked"] == "memory"
            await asyncio.sleep(0.3)
            assert "position" not in first.messages[-1].get("parked", {}), "nobody watches yet"
        first.playing = True
        (stream,) = (s for s in server.engine.streams if s.session_id == first.ready["session_id"])
        await until(lambda: stream.parked is None)
        await first.wait_frames(len(first.video) + 8)
        assert first.close_code is None
        assert goes_on(first)
