"""A server measures how long batches take while it serves nobody, and lets in by what it found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rollcast.models.contract import StreamRequest
from rollcast.models.pipeline.batch_probe import IDLE_S
from rollcast.models.pipeline.idle_measure import IdleMeasure
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.server.config import ServerConfig
from rollcast.server.engine.model_host import ModelHost
from rollcast.server.engine.scheduler import ModelLoad, free_places
from rollcast.server.web.app import build_hosts

from ..running import running, until, viewing

NAME = "tiny-causal"
TINY_MODELS = Path(__file__).parents[2] / "models" / "pipeline"
LIMIT_S = 120.0
"""Far from what anything here takes."""
NEVER_S = 1e6


class Noted(Pipeline):
    """A pipeline that notes which streams it had."""

    def __init__(self) -> None:
        # a call takes as long for eight as for one, as where launches are what takes long
        spec = ModelSpec("tiny_causal:TinyCausal", {"batches": True, "call_s": 0.02})
        super().__init__(spec, probe_after_s=NEVER_S)
        self.probes = 0

    @property
    def measure(self) -> IdleMeasure:
        assert self._measure is not None
        return self._measure

    @property
    def probed(self) -> list[str]:
        """The streams of a batch that is measured now."""
        return [stream for stream in list(self.streams) if stream.startswith("(probe")]

    def open(self, stream: str, request: StreamRequest) -> None:
        self.probes += stream.startswith("(probe")
        super().open(stream, request)


@pytest.mark.long
@pytest.mark.processes
async def test_batches_are_measured_while_nobody_is_there_and_never_beside_a_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TINY_MODELS))
    pipeline = Noted()
    host = ModelHost(NAME, lambda: pipeline)
    async with running(hosts=[host], models=(NAME,), wait_ready=False, grace_s=0.0) as server:
        await until(lambda: server.engine.health == "ready", LIMIT_S)
        model = server.engine.hosted[NAME]
        async with viewing(server.ws, model=NAME) as viewer:
            await viewer.wait_frames(1)
            pipeline.measure.after_s = 0.0
            # between two chunks the model has nothing to do
            await viewer.wait_chunk(2)
            assert not pipeline.probes
        await until(lambda: pipeline.probes > 0, LIMIT_S)
        async with viewing(server.ws, model=NAME) as viewer:
            await viewer.wait_frames(1)
            assert not pipeline.probed, "it gave way"
            given_up, known = pipeline.probes, set(model.table.seconds)
            await viewer.wait_chunk(2)
            assert (pipeline.probes, set(model.table.seconds)) == (given_up, known)
        await until(lambda: pipeline.measure.over, LIMIT_S)
        await until(lambda: not pipeline.probed and 2 in model.table.seconds, LIMIT_S)
        load = model.load
        assert load is not None and load.table == model.table.seconds
        assert server.engine.free_places() == places(load)
        # what was measured decides: two in the time of one are more places
        model.table.forget()
        alone = server.engine.free_places()
        assert alone == places(replace(load, table={}))
        model.table.add(2, load.step_s)
        assert server.engine.free_places() > alone


def places(load: ModelLoad) -> int:
    return free_places(load, [], max_sessions=None)


async def test_a_server_that_is_no_replica_waits_before_it_measures() -> None:
    (host,) = build_hosts(ServerConfig(port=0))
    pipeline = host._make()
    assert isinstance(pipeline, Pipeline) and pipeline._measure is not None
    assert pipeline._measure.after_s == IDLE_S > 0
    assert pipeline._ready_soon, "nor does it measure anything before its first viewer"
