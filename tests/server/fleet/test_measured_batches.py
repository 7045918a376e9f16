"""A replica knows how long batches take before it is ready, and never measures them again: the
stream that another one has lost would wait for that."""

from __future__ import annotations

import asyncio

import pytest

from rollcast.models.pipeline.batch_probe import IDLE_S
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.server.config import ServerConfig
from rollcast.server.secret import Secret
from rollcast.server.web.app import build_hosts

from ..running import running, until

pytestmark = [pytest.mark.processes, pytest.mark.long]


async def test_batches_are_measured_before_the_first_stream() -> None:
    fleet = {"fleet_key": Secret("a key of a fleet that tests have"), "models": ("pocket",)}
    hosts = build_hosts(ServerConfig(port=0, threads=1, **fleet))
    async with running(hosts=hosts, threads=1, wait_ready=False, **fleet) as server:
        model = server.engine.hosted["pocket"]
        await until(lambda: model.condition == "ready", limit_s=120.0)
        # at once, and not when it has been idle for long enough
        await until(lambda: 2 in model.table.seconds, limit_s=IDLE_S / 2)
        executor = hosts[0]._executor
        assert isinstance(executor, Pipeline)
        measured = dict(model.table.seconds)
        assert not executor._ready_soon, "a stream may come as soon as it is ready"
        # idle for longer than it takes a server that is no replica to begin
        assert executor._measure is not None
        executor._measure._used_s -= 3600.0
        await asyncio.sleep(0.2)
        assert not executor._logs and model.table.seconds == measured
