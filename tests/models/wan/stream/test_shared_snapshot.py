"""A stream whose snapshot lies in memory that the stage shares goes on bit for bit."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.part_file import PartFile, can_share
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.replay_log import SNAPSHOT_CHUNKS
from rollcast.models.registry import MODEL_FACTORY, load_model

from ..conftest import FolderOf

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]
# four times as many tokens as other tests have, so that caches are large enough to be shared
SIZE = (128, 64)


@pytest.mark.skipif(not can_share(), reason="Linux has such files")
@pytest.mark.parametrize("stages", [1, 2])
def test_a_killed_stage_is_a_pause_and_nothing_else(stages: int, folder_of: FolderOf) -> None:
    folder = str(folder_of("self-forcing"))
    arguments = {"name": "self-forcing", "weights": [folder], "size": SIZE, "threads": 1}
    spec = ModelSpec(MODEL_FACTORY, arguments, preload=("rollcast.models.pipeline.stage",))
    model = load_model(**arguments)
    state, count = model.start(StreamRequest(seed=4)), SNAPSHOT_CHUNKS + 3
    wanted = [model.step(state, Controls()).frames for _ in range(count)]
    pipeline = Pipeline(spec, stages, backoff=Backoff(first_s=0.1, most_s=0.1))
    pipeline.start()
    try:
        pipeline.open("a", StreamRequest(seed=4))
        made: list[np.ndarray] = []
        for k in range(count):
            pipeline.submit("a", Controls())
            while len(made) <= k:
                made += [
                    event.chunk.frames
                    for event in pipeline.poll(0.1)
                    if isinstance(event, Finished)
                ]
            if k == SNAPSHOT_CHUNKS:
                kept = pipeline._logs["a"]._snapshot
                assert kept is not None and kept[0] == SNAPSHOT_CHUNKS - 1
                assert isinstance(kept[1]["cache.0"], PartFile)
                assert isinstance(kept[1]["decoder"], PartFile)
                os.kill(pipeline.pids[0], signal.SIGKILL)
        pipeline.close("a")
    finally:
        pipeline.stop()
    assert pipeline.restarts == 1
    for one, other in zip(made, wanted, strict=True):
        assert np.array_equal(one, other)
