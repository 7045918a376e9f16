"""The worker's thread: order, isolation, and failures that are heard."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from rollcast.models.contract import Chunk, Controls, Model
from rollcast.models.test_pattern import TestPattern, read_barcode
from rollcast.server.engine.worker import (
    Close,
    Failed,
    Open,
    Ready,
    Refused,
    Report,
    Step,
    Stepped,
    Worker,
    load_models,
)

from ..running import FailingPattern


@contextmanager
def started(*models: Model) -> Iterator[tuple[Worker, queue.Queue[Report]]]:
    reports: queue.Queue[Report] = queue.Queue()
    worker = Worker(lambda: models)
    worker.start(reports.put)
    try:
        yield worker, reports
    finally:
        worker.stop()


def stepped(reports: queue.Queue[Report]) -> Stepped:
    report = reports.get(timeout=5)
    assert isinstance(report, Stepped), report
    return report


def test_it_is_ready_after_warming_up() -> None:
    with started(TestPattern()) as (_, reports):
        ready = reports.get(timeout=5)
        assert isinstance(ready, Ready)
        assert [info.name for info in ready.models] == ["test-pattern"]
        assert 0 < ready.step_s["test-pattern"] < 0.1
        assert any(thread.name == "torch-0" for thread in threading.enumerate())
    assert not any(thread.name == "torch-0" for thread in threading.enumerate())


def test_warm_up_shows_the_model_every_control_that_it_obeys() -> None:
    seen: list[Controls] = []

    class Watched(TestPattern):
        def step(self, state: object, controls: Controls) -> Chunk:
            seen.append(controls)
            return super().step(state, controls)

    with started(Watched()) as (_, reports):
        assert isinstance(reports.get(timeout=5), Ready)
    assert {controls.scene for controls in seen} == {None, "bars", "grid"}
    for wanted in ("prompt", "tracks", "clear_audio", "reset"):
        assert any(getattr(controls, wanted) for controls in seen), wanted
    assert any(len(controls.audio) for controls in seen)


def test_streams_are_separate() -> None:
    with started(TestPattern()) as (worker, reports):
        reports.get(timeout=5)
        for name, seed in (("a", 1), ("b", 2)):
            worker.submit(Open(name, "test-pattern", seed, "bars", None))
        worker.submit(Step("a", Controls()))
        worker.submit(Step("a", Controls()))
        worker.submit(Step("b", Controls()))
        frames = [stepped(reports).chunk.frames[0] for _ in range(3)]
        assert [read_barcode(frame) for frame in frames] == [0, 4, 0]
        assert (frames[0] != frames[2]).any()


def test_a_closed_stream_is_freed() -> None:
    with started(TestPattern()) as (worker, reports):
        reports.get(timeout=5)
        worker.submit(Open("a", "test-pattern", 1, "bars", None))
        worker.submit(Close("a"))
        worker.submit(Close("a"))
        worker.submit(Step("a", Controls()))
        assert reports.get(timeout=5) == Refused("a", "the stream was not opened")


def test_what_the_model_refuses_ends_one_stream_and_no_other() -> None:
    with started(TestPattern()) as (worker, reports):
        reports.get(timeout=5)
        worker.submit(Open("a", "test-pattern", 1, "moon", None))
        worker.submit(Open("b", "test-pattern", 1, "bars", None))
        worker.submit(Step("a", Controls()))
        worker.submit(Step("b", Controls()))
        refused = reports.get(timeout=5)
        assert isinstance(refused, Refused) and "moon" in refused.reason
        assert reports.get(timeout=5) == Refused("a", "the stream was not opened")
        assert stepped(reports).session_id == "b"


def test_a_thread_that_is_far_behind_says_so() -> None:
    worker = Worker(lambda: [])
    for number in range(513):
        assert not worker.behind
        worker.submit(Close(str(number)))
    assert worker.behind


def test_a_failing_step_is_reported_with_its_traceback() -> None:
    with started(FailingPattern()) as (worker, reports):
        reports.get(timeout=5)
        worker.submit(Open("a", "test-pattern", 1, "bars", None))
        worker.submit(Step("a", Controls(prompt="break")))
        failed = reports.get(timeout=5)
        assert isinstance(failed, Failed)
        assert failed.reason == "RuntimeError: the model broke"
        assert "in step" in failed.detail


def test_a_failing_load_is_reported() -> None:
    def load() -> list[Model]:
        raise OSError("no weights")

    reports: queue.Queue[Report] = queue.Queue()
    worker = Worker(load)
    worker.start(reports.put)
    failed = reports.get(timeout=5)
    assert isinstance(failed, Failed) and failed.reason == "OSError: no weights"
    worker.stop()


def test_stopping_waits_for_what_was_asked_before() -> None:
    with started(TestPattern()) as (worker, reports):
        reports.get(timeout=5)
        worker.submit(Open("a", "test-pattern", 1, "bars", None))
        for _ in range(5):
            worker.submit(Step("a", Controls(audio=np.zeros(10, np.int16))))
    assert reports.qsize() == 5


def test_models_are_loaded_by_name() -> None:
    (model,) = load_models(["test-pattern"], None)
    assert model.info.name == "test-pattern"
    with pytest.raises(ValueError, match="test-pattern"):
        load_models(["no-such-model"], None)
