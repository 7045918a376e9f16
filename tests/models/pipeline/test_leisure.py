"""A model that is soon warm is measured behind its start, while there is no stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.events import Event, MeasuredAlone
from rollcast.models.pipeline.leisure_measure import LEISURE_S, LeisureMeasure
from rollcast.models.pipeline.measure import Measuring, measure_one, measuring_parts
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.warm_up import every_control

from .running import PATIENT, chunks_of, tiny
from .tiny import INFO, TinyModel

LIMIT_S = 120.0
TIMED = 5
LOG = [Controls(audio=np.full(INFO.chunk_samples, 99 * k, np.int16)) for k in range(3)]


def soon(path: Path, **arguments: object) -> Pipeline:
    spec = tiny("SoonWarm", path=str(path), **arguments)
    return Pipeline(spec, patience=PATIENT, ready_soon=True)


def poll_until(pipeline: Pipeline, over: Callable[[list[Event]], bool]) -> list[Event]:
    events: list[Event] = []
    end_s = time.monotonic() + LIMIT_S
    while not over(events):
        assert time.monotonic() < end_s
        events += pipeline.poll(0.02)
    return events


def in_leisure(pipeline: Pipeline) -> list[Event]:
    """What comes while there would be time to measure."""
    end_s = time.monotonic() + 2 * LEISURE_S
    events: list[Event] = []
    while time.monotonic() < end_s:
        events += pipeline.poll(0.02)
    return events


def alone(events: list[Event]) -> list[MeasuredAlone]:
    return [event for event in events if isinstance(event, MeasuredAlone)]


def test_it_is_measured_chunk_by_chunk_and_from_the_beginning_if_it_was_given_up() -> None:
    model, begun = TinyModel(steps=2), 0

    def begin() -> Measuring:
        nonlocal begun
        begun += 1
        return measuring_parts(model)

    leisure = LeisureMeasure(begin)
    chunks = model.chunk_steps.caches * (len([*every_control(model.info)]) + TIMED)
    assert leisure.pause_s == LEISURE_S > 0
    assert leisure.go_on() is None and begun == 1
    assert leisure.pause_s == 0.0
    leisure.give_up()
    assert leisure.pause_s == LEISURE_S
    assert [leisure.go_on() for _ in range(chunks)] == [None] * chunks and begun == 2
    costs = leisure.go_on()
    assert costs is not None and len(costs.step_s) == len(measure_one(model).step_s)
    assert 0 < costs.total_s < LIMIT_S


@pytest.mark.processes
def test_a_start_waits_for_no_measurement_and_is_told_of_it_later(tmp_path: Path) -> None:
    pipeline = soon(tmp_path / "count")
    try:
        pipeline.start()
        assert not pipeline.measured and pipeline.running
        first = pipeline.costs
        events = poll_until(pipeline, lambda events: bool(alone(events)))
        assert pipeline.measured and pipeline.costs is not None and pipeline.costs != first
        assert [event.seconds for event in alone(events)] == [pipeline.costs.total_s]
        assert pipeline.period_s == pipeline.costs.total_s
        made = [each.chunk.frames for each in chunks_of(pipeline, LOG)]
    finally:
        pipeline.stop()
    count = (tmp_path / "count").read_text()
    assert count == "x"
    once = Pipeline(tiny("SoonWarm", path=str(tmp_path / "count")), patience=PATIENT)
    try:
        once.start()
        assert once.measured and (tmp_path / "count").read_text() == 2 * count
        expected = [each.chunk.frames for each in chunks_of(once, LOG)]
    finally:
        once.stop()
    assert all(map(np.array_equal, made, expected))


@pytest.mark.long
@pytest.mark.processes
def test_no_stream_waits_for_it(tmp_path: Path) -> None:
    count = tmp_path / "count"
    pipeline = soon(count, step_s=0.02)
    try:
        pipeline.start()
        pipeline.open("a", StreamRequest(seed=1))
        assert not alone(in_leisure(pipeline)) and not count.exists()
        pipeline.close("a")
        # begun, and given up for the second stream
        poll_until(pipeline, lambda _: count.exists())
        assert len(chunks_of(pipeline, LOG)) == len(LOG)
        assert not pipeline.measured
        poll_until(pipeline, lambda events: bool(alone(events)))
        assert count.read_text() == "xx"
    finally:
        pipeline.stop()


@pytest.mark.long
@pytest.mark.processes
def test_what_breaks_in_it_once_is_tried_again(tmp_path: Path) -> None:
    pipeline = soon(tmp_path / "count", dies=1)
    try:
        pipeline.start()
        poll_until(pipeline, lambda events: bool(alone(events)))
        assert pipeline.measured and pipeline.restarts == 1
    finally:
        pipeline.stop()


@pytest.mark.long
@pytest.mark.processes
def test_what_always_breaks_in_it_is_given_up(tmp_path: Path) -> None:
    count = tmp_path / "count"
    pipeline = soon(count, dies=9)
    try:
        pipeline.start()
        poll_until(pipeline, lambda _: pipeline.restarts == 3 and pipeline.running)
        assert pipeline.measured, "as well as it can be"
        assert len(chunks_of(pipeline, LOG)) == len(LOG)
        assert not alone(in_leisure(pipeline))
        assert count.read_text() == "xxx"
    finally:
        pipeline.stop()
