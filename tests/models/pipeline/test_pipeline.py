"""The pipeline makes bit for bit what one process makes, for any number of steps and stages."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.events import Dropped, Event, Finished, Lost
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.pipeline import Pipeline, PipelineFailed
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.pipeline.stage_plan import StagePlan, choose_plan, plans

from ...variants import some_of
from .running import PATIENT, Shared, chunks_of, collect, same, sequential, tiny
from .tiny import TinyModel, control_log

pytestmark = pytest.mark.processes

CHUNKS = 36


@contextmanager
def started(stages: int, steps: int) -> Iterator[Pipeline]:
    pipeline = Pipeline(tiny(steps=steps), stages, patience=PATIENT)
    try:
        pipeline.start()
        yield pipeline
    finally:
        pipeline.stop()


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    shared = Shared(lambda: Pipeline(tiny(steps=4), 5, patience=PATIENT))
    yield shared
    shared.stop()


@pytest.fixture
def five(shared: Shared) -> Iterator[Pipeline]:
    """Five stages."""
    with shared.lent() as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    return sequential(control_log(CHUNKS))


@pytest.mark.parametrize("stages", some_of([1, 2, 3, 4, 5], 1, 5))
def test_four_steps_on_any_number_of_stages(
    five: Pipeline, expected: list[np.ndarray], stages: int
) -> None:
    """55 chunks with prompts, speech, tracks, scenes (sinks), seeds and resets on their way."""
    assert five.costs is not None
    plan = choose_plan(stages, five.costs)
    five.assign(plan)
    done = chunks_of(five, control_log(CHUNKS))
    assert same(done, expected)
    assert {span.stage for span in done[0].spans} == set(range(stages))


@pytest.mark.long
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_fewer_steps_on_any_number_of_stages(steps: int) -> None:
    log = control_log(30)
    frames = sequential(log, model=TinyModel(steps=steps))
    assert not np.array_equal(frames[0], sequential(log[:1])[0])
    with started(steps + 1, steps) as pipeline:
        assert pipeline.costs is not None
        for stages in range(1, steps + 2):
            plan = choose_plan(stages, pipeline.costs)
            pipeline.assign(plan)
            assert same(chunks_of(pipeline, log), frames), plan


@pytest.mark.long
def test_every_way_to_share_four_steps_out(five: Pipeline, expected: list[np.ndarray]) -> None:
    """Several steps on a stage, the decoder on any stage or alone."""
    log = control_log(12)
    every = [plan for stages in range(1, 6) for plan in plans(stages, 4)]
    assert len(every) == 28
    for plan in every:
        five.assign(plan)
        assert same(chunks_of(five, log), expected[:12]), plan


@pytest.mark.parametrize("decoder", some_of([0, 1, 3], 1))
def test_a_stream_may_have_the_name_of_one_that_was_just_closed(
    five: Pipeline, expected: list[np.ndarray], decoder: int
) -> None:
    """That one's chunks and its end still go round then, back to the decoder too."""
    five.assign(StagePlan(((0,), (1,), (2,), (3,)), decoder))
    log = control_log(12)
    for _ in range(3):
        five.open("a", StreamRequest(seed=2))
        five.submit("a", Controls())
        five.close("a")
        assert same(chunks_of(five, log), expected[:12])


def test_streams_share_the_stages_and_cannot_see_each_other(five: Pipeline) -> None:
    log = control_log(20)
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        five.open(name, StreamRequest(seed=seed))
    done = [f for controls in log for name in "abc" for f in make_chunk(five, name, controls)]
    done += make_rest(five)
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        assert same([f for f in done if f.stream == name], sequential(log, seed))
        five.close(name)


def test_no_slot_stays_empty_while_a_stream_waits() -> None:
    """The slowest stage goes from one stream's chunk to the next one's, whoever asks."""
    pipeline = Pipeline(tiny(step_s=0.05, steps=2), 2, patience=PATIENT)
    try:
        pipeline.start()
        for name in "abc":
            pipeline.open(name, StreamRequest(seed=1))
        for _ in range(10):
            for name in "abc":
                pipeline.submit(name, Controls())
        done, _ = collect(pipeline, 30)
    finally:
        pipeline.stop()
    assert [f.stream for f in done] == list("abc" * 10)
    work = [span for f in done for span in f.spans if span.stage == 0 and span.name == "step 0"]
    gaps = [b.begin_s - a.end_s for a, b in itertools.pairwise(work)]
    # an empty slot would be as long as a chunk's work
    assert median(gaps) < 0.5 * median(span.end_s - span.begin_s for span in work)


def test_a_refused_stream_is_lost_alone(five: Pipeline) -> None:
    five.open("good", StreamRequest(seed=1))
    five.open("bad", StreamRequest(seed=1, scene="mars"))
    five.submit("good", Controls())
    heard = events_of(five, 2)
    assert [f.stream for f in heard if isinstance(f, Finished)] == ["good"]
    assert Lost("bad", "unknown scene 'mars'") in heard
    five.submit("good", Controls(scene="venus"))
    assert events_of(five, 1) == [Lost("good", "unknown scene 'venus'")]


def events_of(pipeline: Pipeline, count: int) -> list[Event]:
    """What happens next; stages tell what they do in no order."""
    heard: list[Event] = []
    end_s = time.monotonic() + 60
    while len(heard) < count:
        assert time.monotonic() < end_s, heard
        heard += pipeline.poll(0.05)
    return heard


def test_dropped_chunks_leave_the_same_past_on_every_stage(five: Pipeline) -> None:
    log = control_log(14)
    five.open("a", StreamRequest(seed=1))
    done = [f for controls in log[:8] for f in make_chunk(five, "a", controls)]
    five.drop("a")
    for controls in log[8:]:
        five.submit("a", controls)
    dropped: list[int] = []
    while len(done) + len(dropped) < len(log):
        for event in five.poll(0.05):
            if isinstance(event, Dropped):
                dropped.append(event.index)
            elif isinstance(event, Finished):
                done.append(event)
    five.close("a")
    assert dropped, "some chunks were under way"
    shown = [f.chunk.index for f in done]
    assert sorted([*shown, *dropped]) == list(range(14)) and max(dropped) == 7
    frames = sequential(log)
    assert all(np.array_equal(f.chunk.frames, frames[f.chunk.index]) for f in done)


def test_a_model_that_cannot_be_loaded_is_reported_not_tried_for_ever() -> None:
    pipeline = Pipeline(tiny("no_such_model"), 1)
    try:
        with pytest.raises(PipelineFailed, match="no_such_model"):
            pipeline.start()
    finally:
        pipeline.stop()


def test_sequential_holds_nothing_back() -> None:
    executor = Sequential(TinyModel())
    executor.open("a", StreamRequest(seed=1))
    assert len(make_chunk(executor, "a", Controls())) == 1
    assert executor.finish() == []
