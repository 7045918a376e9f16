"""While it is only guessed what a chunk takes, one stream is let in and no other beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollcast.models.contract import ModelInfo, ModelInputs
from rollcast.models.pipeline.events import MeasuredAlone
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.recent import Recent
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.test_pattern import TestPattern
from rollcast.server.config import ServerConfig
from rollcast.server.engine.engine import Engine
from rollcast.server.engine.hosted_model import HostedModel
from rollcast.server.engine.model_host import ModelHost, Ready
from rollcast.server.engine.places import Places
from rollcast.server.engine.scheduler import AllTaken
from rollcast.server.metrics import Metrics

from ..running import running, until, viewing

TINY_MODELS = Path(__file__).parents[2] / "models" / "pipeline"
LIMIT_S = 120.0
INFO = ModelInfo(
    name="m", title="m", width=8, height=8, fps=25, chunk_frames=4, inputs=ModelInputs()
)
TRUE_S, GUESS_S = 0.01, 0.001


def test_a_guess_is_one_value_and_sure_after_four_more() -> None:
    figure = Recent(GUESS_S, guess=True)
    for _ in range(4):
        assert not figure.is_sure
        figure.add(TRUE_S)
    assert figure.is_sure and figure.value == TRUE_S
    assert Recent(GUESS_S).is_sure


def engine_of(*names: str, max_sessions: int | None = None) -> Engine:
    """An engine with models that have just told that they are ready, and were not measured."""
    config = ServerConfig(models=names, max_sessions=max_sessions)
    hosts = [ModelHost(name, lambda: Sequential(TestPattern())) for name in names]
    engine = Engine(config, hosts, Metrics())
    for name in names:
        engine._events.take(engine.hosted[name], Ready(INFO, GUESS_S, 0.0, measured=False))
    return engine


def second(places: Places, model: HostedModel) -> bool:
    """Whether one more is let in; it goes at once."""
    try:
        places.release(places.hold(model, "b", 0.0))
    except AllTaken as refused:
        assert refused.retry_after_s is not None and refused.retry_after_s <= 1.0
        return False
    return True


@pytest.mark.parametrize("said", [False, True], ids=["measured", "said by the operator"])
async def test_who_comes_second_waits_until_it_is_known_that_both_fit(said: bool) -> None:
    engine = engine_of("m", max_sessions=3 if said else None)
    places, model = engine.places, engine.hosted["m"]
    assert places.total == (3 if said else 1) and places.free == (3 if said else 1)
    first = places.hold(model, "a", 0.0)
    assert second(places, model) == said
    assert places.free == (2 if said else 0)
    engine._events.take(model, MeasuredAlone(TRUE_S))
    assert second(places, model) and places.free > 1
    places.release(first)
    # what is known by streams is not thrown away for it
    assert model.step_s is not None
    model.step_s.add(TRUE_S)
    engine._events.take(model, MeasuredAlone(99.0))
    assert model.step_s.value == TRUE_S
    assert b'rollcast_warm_step_seconds{model="m"} 99.0' in engine.metrics.render()


async def test_no_model_is_let_in_beside_another_one_that_is_guessed() -> None:
    engine = engine_of("m", "n")
    places, model, other = engine.places, engine.hosted["m"], engine.hosted["n"]
    engine._events.take(model, MeasuredAlone(TRUE_S))
    first = places.hold(other, "a", 0.0)
    assert not second(places, model) and places.free == 0
    engine._events.take(other, MeasuredAlone(TRUE_S))
    assert second(places, model)
    places.release(first)


@pytest.mark.slow
@pytest.mark.processes
async def test_the_chunks_of_a_stream_tell_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TINY_MODELS))
    spec = ModelSpec("tiny:SoonWarm", {"path": str(tmp_path / "count")})
    host = ModelHost("tiny", lambda: Pipeline(spec, ready_soon=True))
    async with running(hosts=[host], models=("tiny",), wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", LIMIT_S)
        assert not server.engine.hosted["tiny"].is_sure
        async with viewing(server.ws, model="tiny") as viewer:
            await viewer.wait_frames(1)
            await until(lambda: server.engine.free_places() > 0, LIMIT_S)
            async with viewing(server.ws, model="tiny") as beside:
                await beside.wait_frames(1)
        # there was a stream all the time
        assert not (tmp_path / "count").exists()
