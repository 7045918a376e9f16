"""A model in one piece, and without torch, in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest, TrackEvent
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.events import Dropped, Event, Finished, Lost, Restarted, Restarting
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.launchers import Inheritance, LocalLauncher
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.nursery import Nursery
from rollcast.models.pipeline.pipeline import Pipeline, PipelineFailed
from rollcast.models.pipeline.stage_pool import Patience
from rollcast.models.test_pattern import CHUNK_SAMPLES, TestPattern

from .breakable import POISON
from .running import PATIENT, Shared, chunks_of, same, saved, sequential

pytestmark = pytest.mark.processes
SPEC = ModelSpec("rollcast.models.test_pattern:TestPattern", preload=())
CHUNKS = 24


def pattern_log(chunks: int) -> list[Controls]:
    rng = np.random.default_rng(0)
    return [
        Controls(
            audio=(rng.standard_normal(CHUNK_SAMPLES) * 3000).astype(np.int16),
            prompt=("a red wall", "a blue wall")[k % 2] if k % 4 == 1 else None,
            transition_chunks=2,
            scene=("grid", "bars")[k // 6 % 2] if k % 6 == 5 else None,
            tracks=(TrackEvent(1, "move", *rng.random(2)),) if k % 3 == 1 else (),
            reset=k % 13 == 12,
        )
        for k in range(chunks)
    ]


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    shared = Shared(lambda: Pipeline(SPEC, patience=PATIENT))
    yield shared
    shared.stop()


@pytest.fixture
def one(shared: Shared) -> Iterator[Pipeline]:
    with shared.lent() as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    return sequential(pattern_log(CHUNKS), 1, TestPattern())


def test_it_is_equal_bit_for_bit(one: Pipeline, expected: list[np.ndarray]) -> None:
    done = chunks_of(one, pattern_log(CHUNKS))
    assert same(done, expected)
    assert one.info == TestPattern().info and one.depth == 1
    assert {(span.stage, span.name) for f in done for span in f.spans} == {(0, "chunk")}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_it_brings_no_torch_for_a_model_without() -> None:
    nursery = Nursery()
    pipeline = Pipeline(SPEC, launchers=[LocalLauncher(nursery=nursery)], patience=PATIENT)
    try:
        pipeline.start()
        maps = Path(f"/proc/{pipeline.pids[0]}/maps").read_text()
    finally:
        pipeline.stop()
        nursery.end()
    assert "numpy" in maps and "torch" not in maps


@pytest.mark.parametrize("before", [0, 5, 18])
def test_a_lost_process_is_a_pause_and_nothing_else(
    one: Pipeline, expected: list[np.ndarray], before: int
) -> None:
    log = pattern_log(CHUNKS)
    one.open("a", StreamRequest(seed=1))
    done = [f for controls in log[:before] for f in make_chunk(one, "a", controls)]
    done += make_rest(one)
    os.kill(one.pids[0], signal.SIGKILL)
    told: list[Event] = []
    for controls in log[before:]:
        one.submit("a", controls)
    end_s = time.monotonic() + 60
    while len(done) < CHUNKS:
        assert time.monotonic() < end_s
        for event in one.poll(0.05):
            if isinstance(event, Finished):
                done.append(event)
            else:
                told.append(event)
    one.close("a")
    assert [type(event) for event in told] == [Restarting, Restarted]
    assert same(done, expected)


def test_kills_one_after_the_other_are_a_longer_pause(
    one: Pipeline, expected: list[np.ndarray]
) -> None:
    """Every new process is killed as soon as it is there; no number of them is final."""
    one.open("a", StreamRequest(seed=1))
    for controls in pattern_log(CHUNKS):
        one.submit("a", controls)
    done: list[Finished] = []
    killed: set[int] = set()
    end_s = time.monotonic() + 120
    while len(done) < CHUNKS:
        assert time.monotonic() < end_s
        (pid,) = one.pids
        if len(killed) < 6 and pid and pid not in killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        done += [event for event in one.poll(0.02) if isinstance(event, Finished)]
    one.close("a")
    assert len(killed) == 6
    assert same(done, expected)


def test_what_is_refused_and_what_is_dropped(one: Pipeline) -> None:
    one.open("bad", StreamRequest(scene="mars"))
    one.open("good", StreamRequest(seed=1))
    one.submit("good", Controls())
    one.submit("good", Controls())
    one.drop("good")
    one.submit("good", Controls())
    one.submit("good", Controls(scene="venus"))
    events: list[Event] = []
    end_s = time.monotonic() + 60
    while len(events) < 5:
        assert time.monotonic() < end_s, events
        events += one.poll(0.05)
    lost = [event for event in events if isinstance(event, Lost)]
    assert [(each.stream, each.refused) for each in lost] == [("bad", True), ("good", True)]
    assert "unknown scene 'mars'" in lost[0].reason and "'venus'" in lost[1].reason
    assert [event.index for event in events if isinstance(event, Dropped)] == [0, 1]
    assert [event.chunk.index for event in events if isinstance(event, Finished)] == [2]


def test_its_snapshot_is_one_part(one: Pipeline) -> None:
    one.open("a", StreamRequest(seed=1))
    for controls in pattern_log(16):
        make_chunk(one, "a", controls)
    make_rest(one)
    start = saved(one, "a")
    one.close("a")
    assert list(start.parts) == ["state"] and start.next_index == 16


@pytest.mark.parametrize(
    ("how", "times", "cause"),
    [("raise", 2, "failed"), ("memory", 2, "failed"), ("exit", 3, "died"), ("kill", 3, "died")],
)
def test_a_poison_chunk_costs_its_own_stream_and_no_other(
    expected: list[np.ndarray], how: str, times: int, cause: str
) -> None:
    """The others wait for as many starts, and miss nothing."""
    pipeline = Pipeline(ModelSpec("breakable:Breakable"), patience=PATIENT)
    try:
        pipeline.start()
        for name in "ab":
            pipeline.open(name, StreamRequest(seed=1))
        for number, controls in enumerate(pattern_log(CHUNKS)):
            pipeline.submit("a", controls)
            if number == 5:
                pipeline.submit("b", Controls(prompt=POISON + how))
        events: list[Event] = []
        done: list[Finished] = []
        end_s = time.monotonic() + 120
        while len(done) < CHUNKS:
            assert time.monotonic() < end_s, events
            for event in pipeline.poll(0.05):
                if isinstance(event, Finished):
                    done.append(event)
                else:
                    events.append(event)
        pipeline.submit("b", Controls())
        assert pipeline.waiting == 0, "what is lost takes no more chunks"
    finally:
        pipeline.stop()
    assert same(done, expected)
    assert [event.stream for event in events if isinstance(event, Lost)] == ["b"]
    told = [event for event in events if isinstance(event, Restarting)]
    assert [event.cause for event in told] == [cause] * times
    assert sum(isinstance(event, Restarted) for event in events) == times


class Unwilling(LocalLauncher):
    """Cannot start a process when it shall not."""

    willing = True

    def launch(self, shared: Inheritance) -> None:
        if not self.willing:
            raise OSError("no room for another process")
        super().launch(shared)


def test_a_machine_without_room_for_a_process_is_tried_again() -> None:
    launcher = Unwilling()
    backoff = Backoff(first_s=0.05, most_s=0.1)
    pipeline = Pipeline(SPEC, launchers=[launcher], patience=PATIENT, backoff=backoff)
    try:
        pipeline.start()
        pipeline.open("a", StreamRequest(seed=1))
        launcher.willing = False
        os.kill(pipeline.pids[0], signal.SIGKILL)
        events: list[Event] = []
        while len(events) < 4:
            events += pipeline.poll(0.05)
        assert all(isinstance(event, Restarting) for event in events)
        last = events[-1]
        assert isinstance(last, Restarting) and "no room for another process" in last.detail
        launcher.willing = True
        (done,) = make_chunk(pipeline, "a", Controls()) or make_rest(pipeline)
        assert done.chunk.index == 0
    finally:
        pipeline.stop()


def test_without_room_the_first_start_fails_and_says_why() -> None:
    launcher = Unwilling()
    launcher.willing = False
    with pytest.raises(PipelineFailed, match="no room for another process"):
        Pipeline(SPEC, launchers=[launcher]).start()


def test_a_model_that_hangs_while_it_is_made_fails_at_the_first_start(tmp_path: Path) -> None:
    """Its heart beats: it is noticed by how long the start takes, not by its silence."""
    (tmp_path / "hang").touch()
    spec = ModelSpec("breakable:Hangs", {"where": "make", "path": str(tmp_path / "hang")})
    pipeline = Pipeline(spec, patience=Patience(start_s=2.0))
    with pytest.raises(PipelineFailed, match=r"stage 0 is not ready \d\.\d s after its start"):
        pipeline.start()
    assert not pipeline.running


@pytest.mark.parametrize("where", ["make", "start", "snapshot", "restore"])
def test_a_model_that_hangs_anywhere_is_started_until_it_works(
    expected: list[np.ndarray], tmp_path: Path, where: str
) -> None:
    """Whatever it does for a stream, or to be made again."""
    hang = tmp_path / "hang"
    spec = ModelSpec("breakable:Hangs", {"where": where, "path": str(hang)})
    patience = Patience(silent_s=30.0, late_s=3.0, restart_s=3.0)
    pipeline = Pipeline(spec, patience=patience, backoff=Backoff(first_s=0.1))
    try:
        pipeline.start()
        pipeline._pool.longest_part_s = pipeline.start_s = 0.1
        log, done, told = pattern_log(CHUNKS), list[Finished](), list[Event]()
        if where == "start":
            hang.touch()
        pipeline.open("a", StreamRequest(seed=1))
        before = {"make": 15, "start": 0, "snapshot": 15, "restore": 16}[where]
        done += [f for controls in log[:before] for f in make_chunk(pipeline, "a", controls)]
        done += make_rest(pipeline)
        if where == "restore":
            saved(pipeline, "a")
        hang.touch()
        for controls in log[before:]:
            pipeline.submit("a", controls)
        if where in ("make", "restore"):
            os.kill(pipeline.pids[0], signal.SIGKILL)
        end_s = time.monotonic() + 120
        while len(done) < CHUNKS:
            assert time.monotonic() < end_s, told
            for event in pipeline.poll(0.05):
                (done if isinstance(event, Finished) else told).append(event)  # type: ignore[arg-type]
            if any(isinstance(event, Restarting) and event.cause == "hung" for event in told):
                hang.unlink(missing_ok=True)
    finally:
        pipeline.stop()
    assert same(done, expected)
    assert isinstance(told[-1], Restarted) and not any(isinstance(each, Lost) for each in told)


def test_it_cannot_run_in_stages() -> None:
    pipeline = Pipeline(SPEC, 2, patience=PATIENT)
    try:
        with pytest.raises(PipelineFailed, match="made in one piece: it cannot run in stages"):
            pipeline.start()
    finally:
        pipeline.stop()


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        ("rollcast.models.test_pattern:Nothing", "Nothing"),
        ("no.such.module:Model", "No module named"),
        ("os:_exit", "stage 0"),
    ],
)
def test_what_cannot_be_made_at_all_is_told_at_once(factory: str, why: str) -> None:
    """The first start is tried once: what is wrong then seldom mends itself."""
    pipeline = Pipeline(ModelSpec(factory, {"status": 3} if factory == "os:_exit" else {}))
    try:
        with pytest.raises(PipelineFailed, match=why):
            pipeline.start()
        assert not pipeline.running
    finally:
        pipeline.stop()
