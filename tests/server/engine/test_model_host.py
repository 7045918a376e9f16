"""A model's host: calls in order, events that are heard, failures that reach who has to know."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from rollcast.models.contract import Chunk, Controls, Model, StreamRequest
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.events import Finished, Lost
from rollcast.models.pipeline.executor import Executor
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.test_pattern import TestPattern, read_barcode
from rollcast.server.engine.model_host import Failed, HostEvent, ModelHost, Ready

from ...processes import alive
from ..running import FailingPattern

pytestmark = pytest.mark.processes

WAIT_S = 60.0
BACKOFF = Backoff(first_s=600.0, most_s=600.0)
HANGS = ModelSpec("signal:sigwait", {"sigset": [1]})
BARS = StreamRequest(seed=1, scene="bars")


@contextmanager
def started(
    make: Callable[[], Executor], backoff: Backoff = BACKOFF
) -> Iterator[tuple[ModelHost, queue.Queue[HostEvent]]]:
    events: queue.Queue[HostEvent] = queue.Queue()
    host = ModelHost("test-pattern", make, backoff=backoff)
    host.start(events.put)
    try:
        yield host, events
    finally:
        host.stop()


def in_thread(model: Model) -> Callable[[], Executor]:
    return lambda: Sequential(model)


def heard(events: queue.Queue[HostEvent]) -> HostEvent:
    return events.get(timeout=WAIT_S)


def test_it_is_ready_after_warming_up() -> None:
    with started(in_thread(TestPattern())) as (host, events):
        ready = heard(events)
        assert isinstance(ready, Ready) and ready.info.name == "test-pattern"
        assert 0 < ready.step_s < 0.1 and ready.latency_s == 0
        assert host.depth == 1
        assert any(thread.name == "model-test-pattern" for thread in threading.enumerate())
    assert not any(thread.name == "model-test-pattern" for thread in threading.enumerate())


def test_warm_up_shows_the_model_every_control_that_it_obeys() -> None:
    seen: list[Controls] = []

    class Watched(TestPattern):
        def step(self, state: object, controls: Controls) -> Chunk:
            seen.append(controls)
            return super().step(state, controls)

    with started(in_thread(Watched())) as (_, events):
        assert isinstance(heard(events), Ready)
    assert {controls.scene for controls in seen} == {None, "bars", "grid"}
    for wanted in ("prompt", "tracks", "clear_audio", "reset"):
        assert any(getattr(controls, wanted) for controls in seen), wanted
    assert any(len(controls.audio) for controls in seen)


def test_streams_are_separate() -> None:
    with started(in_thread(TestPattern())) as (host, events):
        heard(events)
        for name, seed in (("a", 1), ("b", 2)):
            host.open(name, StreamRequest(seed=seed, scene="bars"))
        for name in ("a", "a", "b"):
            host.submit(name, Controls())
        finished = [heard(events) for _ in range(3)]
        frames = [each.chunk.frames[0] for each in finished if isinstance(each, Finished)]
        assert [read_barcode(frame) for frame in frames] == [0, 4, 0]
        assert (frames[0] != frames[2]).any()


def test_what_the_model_refuses_ends_one_stream_and_no_other() -> None:
    with started(in_thread(TestPattern())) as (host, events):
        heard(events)
        host.open("a", StreamRequest(seed=1, scene="moon"))
        host.open("b", BARS)
        host.submit("a", Controls())
        host.submit("b", Controls())
        lost = heard(events)
        assert isinstance(lost, Lost) and lost.stream == "a" and "moon" in lost.reason
        finished = heard(events)
        assert isinstance(finished, Finished) and finished.stream == "b"


def test_calls_for_a_stream_that_is_gone_do_nothing() -> None:
    with started(in_thread(TestPattern())) as (host, events):
        heard(events)
        host.open("a", BARS)
        for call in (host.close, host.close, host.drop):
            call("a")
        host.submit("a", Controls())
        host.open("b", BARS)
        host.submit("b", Controls())
        finished = heard(events)
        assert isinstance(finished, Finished) and finished.stream == "b"


def test_a_host_that_is_far_behind_says_so() -> None:
    host = ModelHost("test-pattern", in_thread(TestPattern()))
    for number in range(513):
        assert not host.behind
        host.close(str(number))
    assert host.behind


def test_a_failure_in_this_process_is_told_with_its_traceback() -> None:
    with started(in_thread(FailingPattern())) as (host, events):
        heard(events)
        host.open("a", BARS)
        host.submit("a", Controls(prompt="break"))
        failed = heard(events)
        assert isinstance(failed, Failed)
        assert failed.reason == "RuntimeError: the model broke" and "in step" in failed.detail
        assert host.next_s(0.0, 0) is None


def test_a_model_that_cannot_be_made_is_told() -> None:
    def make() -> Executor:
        raise OSError("no weights")

    with started(make) as (_, events):
        failed = heard(events)
        assert isinstance(failed, Failed) and failed.reason == "OSError: no weights"


def test_a_process_whose_model_cannot_be_made_is_told() -> None:
    spec = ModelSpec("rollcast.models.registry:load_model", {"name": "absent"})
    with started(lambda: Pipeline(spec)) as (_, events):
        failed = heard(events)
        assert isinstance(failed, Failed) and "absent" in failed.reason
        assert "Traceback" in failed.detail


def test_no_failure_is_final() -> None:
    """It is made again and serves new streams; what was asked for lost ones is forgotten."""
    made: list[int] = []

    def make() -> Executor:
        made.append(len(made))
        if len(made) == 2:
            raise MemoryError
        return Sequential(FailingPattern())

    with started(make, Backoff(first_s=0.2)) as (host, events):
        assert isinstance(heard(events), Ready)
        host.open("a", BARS)
        host.submit("a", Controls())
        assert isinstance(heard(events), Finished)
        host.submit("a", Controls(prompt="break"))
        assert isinstance(heard(events), Failed)
        host.submit("a", Controls())
        host.close("a")
        failed = heard(events)
        assert isinstance(failed, Failed) and "MemoryError" in failed.reason
        assert isinstance(heard(events), Ready)
        host.open("b", BARS)
        host.submit("b", Controls())
        finished = heard(events)
        assert isinstance(finished, Finished)
        assert (finished.stream, finished.chunk.index) == ("b", 0)


def test_a_host_is_stopped_while_it_pauses() -> None:
    def make() -> Executor:
        raise OSError("no weights")

    begin_s = time.monotonic()
    with started(make, Backoff(first_s=600.0, most_s=600.0)) as (_, events):
        assert isinstance(heard(events), Failed)
    assert not any(thread.name == "model-test-pattern" for thread in threading.enumerate())
    assert time.monotonic() - begin_s < WAIT_S


def test_a_host_is_stopped_while_its_model_hangs_at_the_start() -> None:
    """Neither its process nor its thread is left."""
    pipelines: list[Pipeline] = []

    def make() -> Executor:
        pipelines.append(Pipeline(HANGS))
        return pipelines[-1]

    with started(make) as (host, events):
        while not (pipelines and pipelines[0].pids and pipelines[0].pids[0]):
            time.sleep(0.02)
        (pid,) = pipelines[0].pids
        time.sleep(0.5)
        assert events.empty()
        assert host.next_s(0.0, 0) is None
    assert not alive(pid)
    assert not any(thread.name == "model-test-pattern" for thread in threading.enumerate())


def test_stopping_waits_for_what_was_asked_before() -> None:
    with started(in_thread(TestPattern())) as (host, events):
        heard(events)
        host.open("a", BARS)
        for _ in range(5):
            host.submit("a", Controls(audio=np.zeros(10, np.int16)))
    assert events.qsize() == 5


def test_the_servers_process_needs_no_torch() -> None:
    code = "import sys, rollcast.server.web.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
