"""The pipeline makes bit for bit what one process makes, whatever happens to its stages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from rollcast.models.stages.events import Dropped, Event, Finished, Lost, Restarted, Restarting
from rollcast.models.stages.messages import ModelSpec
from rollcast.models.stages.pipeline import Pipeline, PipelineFailed
from rollcast.models.stages.plan import Plan
from rollcast.models.stages.sequential import Sequential
from rollcast.models.stream import Controls

from .tiny import TinyModel, control_log

TINY = ModelSpec("tiny:TinyModel")
CHUNKS = 55
ONE_TO_FIVE = [
    Plan(((0, 1, 2, 3),), 0),
    Plan(((0, 1), (2, 3)), 0),
    Plan(((0, 1, 2, 3), ()), 1),
    Plan(((0,), (1, 2), (3,)), 1),
    Plan(((0,), (1,), (2,), (3,)), 3),
    Plan(((0,), (1,), (2,), (3,), ()), 4),
]


@pytest.fixture(scope="module", autouse=True)
def _tiny_is_importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


@pytest.fixture(scope="module")
def five(_tiny_is_importable: None) -> Iterator[Pipeline]:
    """Five stages, shared by the tests: starting processes is what takes time."""
    pipeline = Pipeline(TINY, 5)
    try:
        pipeline.start()
        yield pipeline
    finally:
        pipeline.stop()


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    return sequential(control_log(CHUNKS))


def sequential(log: Sequence[Controls], seed: int = 1) -> list[np.ndarray]:
    executor = Sequential(TinyModel())
    executor.open("a", seed=seed)
    return [f.chunk.frames for controls in log for f in executor.step("a", controls)]


def collect(
    pipeline: Pipeline, count: int, *, until_s: float = 40.0
) -> tuple[list[Finished], list[Event]]:
    """Events until so many chunks have come."""
    done: list[Finished] = []
    rest: list[Event] = []
    end_s = time.monotonic() + until_s
    while len(done) < count:
        assert time.monotonic() < end_s, (len(done), rest)
        for event in pipeline.poll(0.02):
            (done if isinstance(event, Finished) else rest).append(event)  # type: ignore[arg-type]
    return done, rest


def same(done: Sequence[Finished], frames: Sequence[np.ndarray]) -> bool:
    return [f.chunk.index for f in done] == list(range(len(frames))) and all(
        np.array_equal(f.chunk.frames, each) for f, each in zip(done, frames, strict=True)
    )


@pytest.mark.parametrize("plan", ONE_TO_FIVE, ids=lambda p: f"{p.stages}-decoder-{p.decoder}")
def test_it_equals_sequential_bit_for_bit(
    five: Pipeline, expected: list[np.ndarray], plan: Plan
) -> None:
    five.assign(plan)
    five.open("a", seed=1)
    done = [f for controls in control_log(CHUNKS) for f in five.step("a", controls)]
    done += five.finish()
    five.close("a")
    assert same(done, expected)
    assert {span.stage for span in done[0].spans} == set(range(plan.stages))


def test_streams_share_the_stages_and_cannot_see_each_other(five: Pipeline) -> None:
    log = control_log(20)
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        five.open(name, seed=seed)
    done = [f for controls in log for name in "abc" for f in five.step(name, controls)]
    done += five.finish()
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        assert same([f for f in done if f.stream == name], sequential(log, seed))
        five.close(name)


def test_a_refused_stream_is_lost_alone(five: Pipeline) -> None:
    five.open("good", seed=1)
    five.open("bad", seed=1, scene="mars")
    five.submit("good", Controls())
    done, rest = collect(five, 1)
    assert done[0].stream == "good"
    assert rest == [Lost("bad", "unknown scene 'mars'")]
    five.submit("good", Controls(scene="venus"))
    events: list[Event] = []
    while not events:
        events = five.poll(0.1)
    assert events == [Lost("good", "unknown scene 'venus'")]


def test_dropped_chunks_leave_the_same_past_on_every_stage(five: Pipeline) -> None:
    log = control_log(14)
    five.open("a", seed=1)
    done = [f for controls in log[:8] for f in five.step("a", controls)]
    five.drop("a")
    for controls in log[8:]:
        five.submit("a", controls)
    dropped: list[int] = []
    while five._under_way or five._queue:
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


@pytest.mark.parametrize(
    ("rank", "number", "after"),
    [(0, signal.SIGKILL, 3), (4, signal.SIGSTOP, 31)],
)
def test_a_lost_stage_is_a_pause_and_nothing_else(
    five: Pipeline, expected: list[np.ndarray], rank: int, number: int, after: int
) -> None:
    """Killed or stopped at any moment: noticed within a second, and not a bit is different."""
    old = five.pids
    five.open("a", seed=1)
    log, done = control_log(CHUNKS), []
    for controls in log[:after]:
        done += five.step("a", controls)
    os.kill(old[rank], number)
    begin_s = time.monotonic()
    for controls in log[after:]:
        five.submit("a", controls)
    notice_s = restarted = None
    while len(done) < CHUNKS:
        assert time.monotonic() < begin_s + 50
        for event in five.poll(0.02):
            if isinstance(event, Finished):
                done.append(event)
            elif isinstance(event, Restarting):
                notice_s = time.monotonic() - begin_s
                assert event.estimate_s > 0
            elif isinstance(event, Restarted):
                restarted = event
    five.close("a")
    assert notice_s is not None and notice_s < 1.1
    assert restarted is not None
    assert same(done, expected)
    assert not set(old) & set(five.pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in old), "no orphan is left"


def test_a_model_that_cannot_be_loaded_is_reported_not_tried_for_ever() -> None:
    pipeline = Pipeline(ModelSpec("tiny:no_such_model"), 1)
    try:
        with pytest.raises(PipelineFailed, match="no_such_model"):
            pipeline.start()
    finally:
        pipeline.stop()


def test_no_stage_outlives_its_executor(_tiny_is_importable: None) -> None:
    """Not even one that is stopped and could not notice, when the executor is killed outright."""
    code = (
        "from rollcast.models.stages.messages import ModelSpec\n"
        "from rollcast.models.stages.pipeline import Pipeline\n"
        "pipeline = Pipeline(ModelSpec('tiny:TinyModel'), 2)\n"
        "pipeline.start()\n"
        "print(*pipeline.pids, flush=True)\n"
        "input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    os.kill(pids[0], signal.SIGSTOP)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()
    end_s = time.monotonic() + 5
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end_s, "an orphan is left"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
