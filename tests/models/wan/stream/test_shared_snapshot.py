"""A stream whose snapshot lies in memory that the stage shares goes on bit for bit."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.part_file import PartFile, can_share
from rollcast.models.registry import load_model

from ..conftest import FolderOf
from ..running import SNAPSHOT_CHUNKS, staged, submitted

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.timeout(600)]
# four times as many tokens as other tests have, so that caches are large enough to be shared
SIZE = (128, 64)


@pytest.mark.long
@pytest.mark.skipif(not can_share(), reason="Linux has such files")
@pytest.mark.parametrize("stages", [2, 1])
def test_a_killed_stage_is_a_pause_and_nothing_else(stages: int, folder_of: FolderOf) -> None:
    folder, request = folder_of("self-forcing"), StreamRequest(seed=4)
    model = load_model("self-forcing", weights=[str(folder)], size=SIZE, threads=1)
    state, log = model.start(request), [Controls()] * (SNAPSHOT_CHUNKS + 3)
    wanted = [model.step(state, controls) for controls in log]
    backoff = Backoff(first_s=0.1, most_s=0.1)
    more = {"backoff": backoff, "size": SIZE, "snapshot_chunks": SNAPSHOT_CHUNKS}
    with staged("self-forcing", folder, stages, request, **more) as pipeline:
        made = submitted(pipeline, log[: SNAPSHOT_CHUNKS + 1])
        kept = pipeline._logs["a"]._snapshot
        assert kept is not None and kept[0] == SNAPSHOT_CHUNKS - 1
        assert isinstance(kept[1]["cache.0"], PartFile)
        assert isinstance(kept[1]["decoder"], PartFile)
        os.kill(pipeline.pids[0], signal.SIGKILL)
        made += submitted(pipeline, log[SNAPSHOT_CHUNKS + 1 :])
        pipeline.close("a")
    assert pipeline.restarts == 1
    for one, other in zip(made, wanted, strict=True):
        assert np.array_equal(one.frames, other.frames)
