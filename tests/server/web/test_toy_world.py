"""The toy world over a real socket: what the server sends is what the model shows."""

from __future__ import annotations

import numpy as np

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.batched import Batched
from rollcast.models.registry import load_model
from rollcast.models.toy_world.config import SINKS
from rollcast.models.toy_world.model import ToyWorldModel
from rollcast.server.engine.model_host import ModelHost

from ..running import decode, running, until, viewing


async def test_a_stream_of_the_toy_world_shows_its_student() -> None:
    model = load_model("toy-world", threads=1)
    told = {"seed": 5, "prompt": "brisk cold", "scene": "none"}
    async with (
        running(lambda: [model], models=("toy-world",)) as server,
        viewing(server.ws, **told) as viewer,
    ):
        (about,) = viewer.hello["models"]
        assert [scene["name"] for scene in about["inputs"]["scenes"]] == list(SINKS)
        await viewer.wait_frames(8)
        sent = decode("jpeg", viewer.video[:8])
    state = model.start(StreamRequest(**told))
    shown = np.concatenate([model.step(state, Controls()).frames for _ in range(2)])
    apart = [np.abs(sent[k].astype(int) - shown[k]).mean() for k in range(8)]
    # what JPEG loses at the edges of flat squares
    assert max(apart) < 4, apart


async def test_streams_of_different_sinks_are_made_as_one_batch() -> None:
    host = ModelHost("toy-world", lambda: Batched(ToyWorldModel(), 2))
    async with running(hosts=[host], models=("toy-world",), turns="batched") as server:
        # as an executor with processes measures it
        server.engine.hosted["toy-world"].table.measure(2, 0.001)
        together = server.engine.metrics.batch_rows.labels("2")
        async with (
            viewing(server.ws, seed=1, scene="none") as one,
            viewing(server.ws, seed=2, scene="ema .9") as other,
        ):
            await until(lambda: together._value.get() >= 2)  # pyright: ignore
            await one.wait_chunk(1)
            await other.wait_chunk(1)
