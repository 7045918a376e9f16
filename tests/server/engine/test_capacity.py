"""Capacity follows what chunks take, both ways, however busy the machine was at the start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.server.engine.model_host import ModelHost

from ..running import RunningServer, running, until, viewing

pytestmark = pytest.mark.processes
LIMIT_S = 90.0


async def refused(server: RunningServer) -> str | None:
    """What a newcomer is told; None: it was admitted."""
    async with connect(server.ws) as socket:
        await socket.send(json.dumps({"type": "hello", "versions": [1], "codecs": ["jpeg"]}))
        await socket.recv()
        await socket.send(json.dumps({"type": "session.create"}))
        answer = json.loads(await socket.recv())
        if answer["type"] == "error":
            return answer["code"]
        await socket.send(json.dumps({"type": "session.close"}))
        await until(lambda: len(server.engine.streams) == 1)
        return None


async def test_places_follow_the_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    pace = tmp_path / "seconds"
    pace.write_text("0.13")
    spec = ModelSpec("faulty_models:Paced", {"path": str(pace)})
    host = ModelHost("test-pattern", lambda: Pipeline(spec))
    async with running(hosts=[host], wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", LIMIT_S)
        assert (server.engine.places.total, server.engine.free_places()) == (1, 1)
        async with viewing(server.ws) as viewer:
            await viewer.wait_frames(1)
            assert await refused(server) == "capacity"
            pace.write_text("0.001")
            await until(lambda: server.engine.free_places() > 2, LIMIT_S)
            assert await refused(server) is None
            assert "rollcast_capacity 1.0" not in server.engine.metrics.render().decode()
            pace.write_text("0.13")
            await until(lambda: server.engine.free_places() == 0, LIMIT_S)
            assert await refused(server) == "capacity"
            count = len(viewer.video)
            await viewer.wait_frames(count + 4)


async def test_streams_that_would_make_each_other_late_take_turns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    pace = tmp_path / "seconds"
    pace.write_text("0.06")
    spec = ModelSpec("faulty_models:Paced", {"path": str(pace)})
    host = ModelHost("test-pattern", lambda: Pipeline(spec))
    async with running(hosts=[host], wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", LIMIT_S)
        model = server.engine.hosted["test-pattern"]

        def distance() -> float:
            """Between two streams' chunks, in chunks; 0 while there are not two."""
            assert model.load is not None
            due_s = [each.due_s for each in model.phases._phases.values()]
            apart = (max(due_s) - min(due_s)) / model.load.chunk_s % 1.0 if len(due_s) > 1 else 0.0
            return min(apart, 1.0 - apart)

        async with viewing(server.ws), viewing(server.ws):
            await until(lambda: distance() > 0.4, LIMIT_S)
