"""A stream that one pipeline began is gone on with by another, bit for bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.events import Event, Finished, Lost, Parked, Saved
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.past import Past
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.test_pattern import TestPattern

from ...variants import some_of
from .running import OFTEN, PATIENT, sequential, tiny
from .tiny import TinyModel, control_log

pytestmark = pytest.mark.processes

CHUNKS, BEGUN = 24, 17


@contextmanager
def started(stages: int) -> Iterator[Pipeline]:
    pipeline = Pipeline(
        tiny(steps=2),
        stages,
        patience=PATIENT,
        snapshot_share=OFTEN,
        snapshot_chunks=4,
        tells_snapshots=True,
    )
    try:
        pipeline.start()
        yield pipeline
    finally:
        pipeline.stop()


def run(pipeline: Pipeline, log: list[Controls]) -> list[Event]:
    """Submit all, one by one, and wait for what comes of them."""
    events: list[Event] = []
    for controls in log:
        pipeline.submit("s", controls)
        while pipeline.waiting:
            events += pipeline.poll(0.02)
    return events + pipeline.finish()


def frames(events: list[Event]) -> dict[int, np.ndarray]:
    assert not [each for each in events if isinstance(each, Lost)]
    return {e.chunk.index: e.chunk.frames for e in events if isinstance(e, Finished)}


@pytest.mark.parametrize(
    ("first", "second"), [(1, 3), *(pytest.param(k, 1, marks=pytest.mark.long) for k in (1, 3))]
)
def test_goes_on_where_another_one_was(first: int, second: int) -> None:
    log = control_log(CHUNKS)
    expected = sequential(log, model=TinyModel(steps=2))
    with started(first) as one:
        one.open("s", StreamRequest(seed=1))
        events = run(one, log[:BEGUN])
    saved = [each for each in events if isinstance(each, Saved)]
    assert [(each.index, each.shown_from, each.small) for each in saved][:3] == [
        (3, 4, False), (7, 8, False), (11, 12, False)
    ]  # fmt: skip
    behind = saved[2].index
    past = Past(
        StreamRequest(seed=1),
        saved[2].parts,
        behind,
        log[behind + 1 : BEGUN],
        BEGUN - 2,
        small=False,
    )
    with started(second) as other:
        other.open("another", StreamRequest())
        make_chunk(other, "another", Controls())
        other.adopt("s", past)
        events = run(other, log[BEGUN:])
        told = [each for each in events if isinstance(each, Finished | Lost)]
        made = frames([each for each in told if each.stream == "s"])
    assert sorted(made) == list(range(BEGUN - 2, CHUNKS)), "what was shown does not come again"
    for index, picture in made.items():
        assert np.array_equal(picture, expected[index]), index


def parked(pipeline: Pipeline) -> Past:
    """What the stream has behind it, once it was let go of."""
    pipeline.park("s")
    told: list[Parked] = []
    while not told:
        told = [each for each in pipeline.poll(0.05) if isinstance(each, Parked)]
    assert told[0].stream == "s"
    return told[0].past


@pytest.mark.parametrize("stages", some_of([1, 3], 3))
def test_is_parked_and_comes_back_where_it_was(stages: int) -> None:
    """Bit for bit, saved behind its last chunk, and alone: another stream goes on meanwhile."""
    log = control_log(CHUNKS)
    expected = sequential(log, model=TinyModel(steps=2))
    with started(stages) as pipeline:
        pipeline.open("s", StreamRequest(seed=1))
        pipeline.open("another", StreamRequest())
        events, begin = [], 0
        for end in (0, BEGUN, BEGUN + 1, CHUNKS):
            events += [e for e in run(pipeline, log[begin:end]) if getattr(e, "stream", "") == "s"]
            past, begin = parked(pipeline), end
            assert not past.controls, "nothing has to be made again"
            make_chunk(pipeline, "another", Controls())
            make_rest(pipeline)
            pipeline.adopt("s", past)
        made = frames(events)
    assert sorted(made) == list(range(CHUNKS))
    for index, picture in made.items():
        assert np.array_equal(picture, expected[index]), index


def test_is_parked_as_it_was_saved_where_its_stages_are_lost() -> None:
    log = control_log(CHUNKS)
    expected = sequential(log, model=TinyModel(steps=2))
    with started(1) as pipeline:
        pipeline.open("s", StreamRequest(seed=1))
        events = run(pipeline, log[:BEGUN])
        os.kill(pipeline.pids[0], signal.SIGKILL)
        past = parked(pipeline)
        assert past.behind < BEGUN - 1 and len(past.controls) == BEGUN - 1 - past.behind
        pipeline.adopt("s", past)
        events += run(pipeline, log[BEGUN:])
        made = frames([each for each in events if isinstance(each, Finished)])
    assert sorted(made) == list(range(CHUNKS))
    for index, picture in made.items():
        assert np.array_equal(picture, expected[index]), index


def test_goes_on_from_its_beginning_without_a_snapshot() -> None:
    log = [Controls(prompt="a blue wall"), Controls(), Controls(seed=5), Controls()]
    one, other = Sequential(TestPattern()), Sequential(TestPattern())
    one.open("s", StreamRequest(seed=3))
    expected = [each for k in log for each in make_chunk(one, "s", k)]
    other.adopt("s", Past(StreamRequest(seed=3), {}, -1, log[:3], 2))
    made = make_chunk(other, "s", log[3]) + make_rest(other)
    assert [each.chunk.index for each in made] == [2, 3]
    for mine, theirs in zip(made, expected[2:], strict=True):
        assert np.array_equal(mine.chunk.frames, theirs.chunk.frames)


@pytest.mark.parametrize(
    ("parts", "behind", "shown_from"), [({}, 3, 5), ({"a": b""}, -1, 0), ({}, -1, 3)]
)
def test_parts_must_agree(parts: dict[str, bytes], behind: int, shown_from: int) -> None:
    with pytest.raises(ValueError, match="chunk"):
        Past(StreamRequest(), parts, behind, [Controls()], shown_from)
