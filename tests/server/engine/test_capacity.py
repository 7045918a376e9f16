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
