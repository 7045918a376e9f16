"""One stage on a GPU: the next chunk is asked for before the frames of one are there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from rollcast.models.contract import StreamRequest
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.events import Finished, Restarted
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.yuv_frames import pixels_of

from .running import OFTEN, PATIENT, collect
from .tiny_causal import TinyCausal, causal_log

pytestmark = pytest.mark.processes
CHUNKS = 24


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    spec = ModelSpec("tiny_late:TinyLate", {"chunk_s": 0.1})
    made = Pipeline(
        spec, patience=PATIENT, backoff=Backoff(0.05, 0.5), snapshot_share=OFTEN, snapshot_chunks=8
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def wanted() -> list[np.ndarray]:
    model = TinyCausal(yuv=True)
    state = model.start(StreamRequest(seed=1))
    return [pixels_of(model.step(state, controls).pictures) for controls in causal_log(CHUNKS)]


def same(done: list[Finished], wanted: list[np.ndarray]) -> bool:
    return [each.chunk.index for each in done] == list(range(len(wanted))) and all(
        np.array_equal(pixels_of(each.chunk.pictures), planes)
        for each, planes in zip(done, wanted, strict=True)
    )


def test_chunks_are_asked_for_ahead_and_are_the_same(
    pipeline: Pipeline, wanted: list[np.ndarray]
) -> None:
    assert pipeline.depth == 2
    pipeline.open("a", StreamRequest(seed=1))
    for controls in causal_log(CHUNKS):
        pipeline.submit("a", controls)
    done, rest = collect(pipeline, CHUNKS)
    pipeline.close("a")
    assert same(done, wanted) and not rest
    # each is prepared beside one that is not done, unless the machine was late; never beside two
    beside = [int(each.chunk.ignored_words[0]) for each in done]
    assert max(beside) == 1 and sum(beside) >= 4
    # the device had its own time for each
    ends = [each.spans[-1].end_s for each in done]
    begins = [each.spans[-1].begin_s for each in done]
    assert all(begin >= end for begin, end in zip(begins[1:], ends, strict=False))


def test_a_stage_that_is_lost_with_two_under_way_goes_on_with_both(
    pipeline: Pipeline, wanted: list[np.ndarray]
) -> None:
    pipeline.open("a", StreamRequest(seed=1))
    for controls in causal_log(CHUNKS):
        pipeline.submit("a", controls)
    done, _ = collect(pipeline, 10)
    while pipeline._queue.turns < 2:
        done += [each for each in pipeline.poll(0.01) if isinstance(each, Finished)]
    os.kill(pipeline.pids[0], signal.SIGKILL)
    more, rest = collect(pipeline, CHUNKS - len(done))
    pipeline.close("a")
    assert same(done + more, wanted)
    assert any(isinstance(each, Restarted) and each.exact for each in rest)
