"""The toy world over a real socket: what the server sends is what the model shows."""

from __future__ import annotations

import numpy as np

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.registry import load_model
from rollcast.models.toy_world.config import SINKS

from ..running import decode, running, viewing


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
