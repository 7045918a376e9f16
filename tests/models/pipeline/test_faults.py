"""Stages that are killed or stopped, any of them at any moment: a pause and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.events import Finished, Lost, Restarted, Restarting
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.messages import Restore
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.pipeline.stage_pool import Patience

from ...processes import alive
from .running import Shared, same, sequential, tiny
from .tiny import BREAK, TinyModel, control_log

pytestmark = pytest.mark.processes

CHUNKS = 40
STEPS = 2
# A second on a machine with time to spare, which `rollcast bench pipeline --faults` measures.
NOTICED_S = 6.0
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    shared = Shared(lambda: Pipeline(tiny(steps=STEPS), 3, plan=StagePlan(((0,), (1,), ()), 2)))
    yield shared
    shared.stop()


@pytest.fixture
def three(shared: Shared) -> Iterator[Pipeline]:
    with shared.lent() as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def expected() -> dict[str, list[np.ndarray]]:
    log, model = control_log(CHUNKS), TinyModel(steps=STEPS)
    return {"a": sequential(log, 1, model), "b": sequential(log, 2, model)}


class Run:
    """Two streams of forty chunks; a stage is struck once `before` of the first one have come."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.done: dict[str, list[Finished]] = {"a": [], "b": []}
        self.told: list[Restarting | Restarted] = []
        self.end_s = time.monotonic() + PATIENCE_S
        for seed, name in enumerate("ab", start=1):
            pipeline.open(name, StreamRequest(seed=seed))

    def submit(self, first: int, last: int) -> None:
        for controls in control_log(CHUNKS)[first:last]:
            for name in "ab":
                self.pipeline.submit(name, controls)

    def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert time.monotonic() < self.end_s, self.told
            for event in self.pipeline.poll(0.02):
                if isinstance(event, Finished):
                    self.done[event.stream].append(event)
                elif isinstance(event, Restarting | Restarted):
                    self.told.append(event)

    def close(self) -> None:
        for name in "ab":
            self.pipeline.close(name)


def strike(pipeline: Pipeline, rank: int, number: int) -> None:
    os.kill(pipeline.pids[rank], number)


@pytest.mark.parametrize(
    ("rank", "number", "before"),
    [
        pytest.param(
            *(0, signal.SIGKILL, 0), id="the first one, before any chunk", marks=pytest.mark.long
        ),
        pytest.param(
            *(1, signal.SIGSTOP, 9), id="the middle one, before a snapshot", marks=pytest.mark.long
        ),
        pytest.param(2, signal.SIGKILL, 16, id="the decoder, right behind a snapshot"),
        pytest.param(
            *(1, signal.SIGKILL, 40), id="while nothing is under way", marks=pytest.mark.long
        ),
    ],
)
def test_a_lost_stage_is_a_pause_and_nothing_else(
    three: Pipeline,
    expected: dict[str, list[np.ndarray]],
    rank: int,
    number: int,
    before: int,
) -> None:
    old, run = three.pids, Run(three)
    run.submit(0, CHUNKS)
    run.until(lambda: len(run.done["a"]) >= before)
    strike(three, rank, number)
    struck_s = time.monotonic()
    run.until(lambda: bool(run.told))
    assert time.monotonic() - struck_s < NOTICED_S
    (restarting,) = run.told
    assert isinstance(restarting, Restarting) and restarting.estimate_s > 0
    assert f"stage {rank}" in restarting.detail or number == signal.SIGKILL
    assert restarting.cause == ("died" if number == signal.SIGKILL else "hung")
    run.until(lambda: len(run.told) == 2 and all(len(d) == CHUNKS for d in run.done.values()))
    run.close()
    assert all(same(run.done[name], expected[name]) for name in "ab")
    assert not set(old) & set(three.pids)
    assert not any(alive(pid) for pid in old), "no orphan is left"


@pytest.mark.long
def test_a_stage_that_comes_back_too_late_is_started_again(
    three: Pipeline, expected: dict[str, list[np.ndarray]]
) -> None:
    """As one that got no processor for a second: its streams were told that they pause."""
    old, run = three.pids, Run(three)
    run.submit(0, CHUNKS)
    run.until(lambda: len(run.done["a"]) >= 9)
    strike(three, 1, signal.SIGSTOP)
    run.until(lambda: bool(run.told))
    strike(three, 1, signal.SIGCONT)
    time.sleep(0.5)  # it is heard again
    run.until(lambda: all(len(done) == CHUNKS for done in run.done.values()))
    run.close()
    assert [type(event) for event in run.told[:2]] == [Restarting, Restarted]
    assert all(same(run.done[name], expected[name]) for name in "ab")
    assert not set(old) & set(three.pids)


@pytest.mark.long
def test_stages_that_are_lost_while_they_start_are_started_again(
    three: Pipeline, expected: dict[str, list[np.ndarray]]
) -> None:
    """One is stopped as soon as its process is there: it is told that this takes longer."""
    old, run = three.pids, Run(three)
    run.submit(0, CHUNKS)
    run.until(lambda: len(run.done["a"]) >= 17)
    strike(three, 0, signal.SIGSTOP)
    run.until(lambda: not set(three.pids) & set(old))
    fresh = three.pids
    # this once: on a busy machine a start may well take longer
    three._pool.patience = Patience(start_silent_s=4.0)
    strike(three, 2, signal.SIGSTOP)
    run.until(lambda: not set(three.pids) & set(fresh))
    run.until(lambda: all(len(d) == CHUNKS for d in run.done.values()))
    run.close()
    assert [type(event) for event in run.told] == [Restarting, Restarting, Restarted]
    assert all(same(run.done[name], expected[name]) for name in "ab")
    assert not any(alive(pid) for pid in (*old, *fresh))


def test_streams_that_end_or_begin_while_stages_are_started_again(
    three: Pipeline, expected: dict[str, list[np.ndarray]]
) -> None:
    run = Run(three)
    run.submit(0, 20)
    run.until(lambda: len(run.done["a"]) >= 18)
    strike(three, 1, signal.SIGKILL)
    run.until(lambda: bool(run.told))
    three.close("b")
    three.open("c", StreamRequest(seed=2))
    run.done["c"] = []
    for controls in control_log(CHUNKS):
        three.submit("c", controls)
    for controls in control_log(CHUNKS)[20:]:
        three.submit("a", controls)
    run.until(lambda: len(run.done["a"]) == len(run.done["c"]) == CHUNKS)
    three.close("a")
    three.close("c")
    assert same(run.done["a"], expected["a"]) and same(run.done["c"], expected["b"])


@pytest.mark.long
def test_streams_that_end_or_begin_while_the_others_are_loaded(
    three: Pipeline, expected: dict[str, list[np.ndarray]]
) -> None:
    """The stages have been given all streams of before then, and do not work yet."""
    run = Run(three)
    run.submit(0, 20)
    run.until(lambda: all(len(done) >= 18 for done in run.done.values()))
    strike(three, 1, signal.SIGKILL)
    run.until(lambda: any(isinstance(each, str) for each in three._waiting_for))
    three.close("b")
    three.open("c", StreamRequest(seed=2))
    run.done["c"] = []
    for controls in control_log(CHUNKS):
        three.submit("c", controls)
    run.until(lambda: len(run.done["a"]) == 20 and len(run.done["c"]) == CHUNKS)
    three.close("a")
    three.close("c")
    assert same(run.done["a"], expected["a"][:20]) and same(run.done["c"], expected["b"])


@pytest.mark.long
def test_chunks_that_were_dropped_stay_dropped(
    three: Pipeline, expected: dict[str, list[np.ndarray]]
) -> None:
    run = Run(three)
    run.submit(0, 20)
    run.until(lambda: len(run.done["a"]) >= 17)
    three.drop("a")
    strike(three, 2, signal.SIGKILL)
    run.submit(20, CHUNKS)
    run.until(lambda: len(run.done["b"]) == CHUNKS and run.done["a"][-1].chunk.index == CHUNKS - 1)
    run.close()
    shown = [f.chunk.index for f in run.done["a"]]
    assert shown == [*range(len(shown) - 20), *range(20, CHUNKS)], "none of 20 is shown"
    frames = expected["a"]
    assert all(np.array_equal(f.chunk.frames, frames[f.chunk.index]) for f in run.done["a"])


def test_a_stream_that_breaks_stages_is_lost_alone(
    three: Pipeline, expected: dict[str, list[np.ndarray]]
) -> None:
    """Tried once more, for it might have been chance; then given up for the sake of the others."""
    run = Run(three)
    run.submit(0, 10)
    three.submit("b", Controls(prompt=BREAK))
    lost: list[Lost] = []
    for controls in control_log(CHUNKS)[10:]:
        three.submit("a", controls)
    while len(run.done["a"]) < CHUNKS:
        assert time.monotonic() < run.end_s, run.told
        for event in three.poll(0.02):
            if isinstance(event, Finished):
                run.done[event.stream].append(event)
            elif isinstance(event, Lost):
                lost.append(event)
    run.close()
    assert [(each.stream, each.refused) for each in lost] == [("b", False)]
    assert lost[0].reason.endswith("RuntimeError: the model broke")
    assert same(run.done["a"], expected["a"])
    assert same(run.done["b"], expected["b"][: len(run.done["b"])])


def test_only_what_is_needed_is_kept_of_a_stream(three: Pipeline) -> None:
    """A snapshot and the controls since: a log does not grow with its stream."""
    three.open("a", StreamRequest(seed=1))
    for controls in control_log(CHUNKS):
        make_chunk(three, "a", controls)
    make_rest(three)
    log, end_s = three._logs["a"], time.monotonic() + 20
    while len(log._controls) > 8:
        assert time.monotonic() < end_s
        assert three.poll(0.05) == []
    start, replay = log.begin_again()
    three.close("a")
    assert isinstance(start, Restore) and start.next_index == 32
    assert sorted(start.parts) == ["cache.0", "cache.1", "decoder", "prepare", "returns"]
    assert [index for index, _, _ in replay] == list(range(32, 40))


def test_no_stage_outlives_its_executor() -> None:
    """Not even one that is stopped and could not notice, when the executor is killed outright."""
    code = (
        "from rollcast.models.pipeline.messages import ModelSpec\n"
        "from rollcast.models.pipeline.pipeline import Pipeline\n"
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
    end_s = time.monotonic() + 30
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end_s, "an orphan is left"
        time.sleep(0.02)
