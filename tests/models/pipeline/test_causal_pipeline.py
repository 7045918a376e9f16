"""A model with a clean pass and a causal decoder as [student | decoder], and what it survives."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.events import Dropped, Event, Finished, Lost, Restarted, Restarting
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.part_file import PartPlace
from rollcast.models.pipeline.pipeline import Pipeline, PipelineFailed
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.pipeline.stage_pool import Patience
from rollcast.models.yuv_frames import YuvFrames

from ...processes import alive
from ...variants import some_of
from .running import OFTEN, PATIENT, Shared, chunks_of, same, saved, sequential
from .tiny_causal import POISON, TinyCausal, causal_log, frame_counts

pytestmark = pytest.mark.processes
CHUNKS = 24
SPEC = ModelSpec("tiny_causal:TinyCausal", {"decode_s": 0.02})
PATIENCE_S = 120.0
ONE, TWO = StagePlan(((0, 1, 2, 3, 4),), 0), StagePlan(((0, 1, 2, 3, 4), ()), 1)


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    shared = Shared(lambda: Pipeline(SPEC, 2, patience=PATIENT, snapshot_share=OFTEN))
    yield shared
    shared.stop()


@pytest.fixture
def two(shared: Shared) -> Iterator[Pipeline]:
    """Student and decoder in processes of their own."""
    with shared.lent() as pipeline:
        pipeline.assign(TWO)
        yield pipeline


@pytest.fixture(scope="module")
def expected() -> dict[str, list[np.ndarray]]:
    model = TinyCausal()
    return {name: sequential(causal_log(CHUNKS), k, model) for k, name in enumerate("ab", 1)}


class Streams:
    """Streams `a` and `b` of seeds 1 and 2 with the same log, and all that became of them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.done: dict[str, list[Finished]] = {"a": [], "b": []}
        self.rest: list[Event] = []
        self.end_s = time.monotonic() + PATIENCE_S
        for seed, name in enumerate("ab", 1):
            pipeline.open(name, StreamRequest(seed=seed))

    def submit(self, first: int, last: int, names: str = "ab") -> None:
        for controls in causal_log(CHUNKS)[first:last]:
            for name in names:
                self.pipeline.submit(name, controls)

    def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert time.monotonic() < self.end_s, self.rest
            for event in self.pipeline.poll(0.02):
                if isinstance(event, Finished):
                    self.done[event.stream].append(event)
                else:
                    self.rest.append(event)

    def close(self) -> None:
        for name in "ab":
            self.pipeline.close(name)

    @property
    def lost(self) -> list[Lost]:
        return [event for event in self.rest if isinstance(event, Lost)]


def test_two_stages_are_the_student_and_the_decoder() -> None:
    pipeline = Pipeline(SPEC, 2, patience=PATIENT)
    try:
        pipeline.start()
        assert pipeline.plan == TWO
    finally:
        pipeline.stop()


def test_frames_that_are_planes_come_out_as_they_were() -> None:
    log = causal_log(4)
    wanted = TinyCausal(yuv=True)
    state = wanted.start(StreamRequest(seed=1))
    pipeline = Pipeline(ModelSpec("tiny_causal:TinyCausal", {"yuv": True}), patience=PATIENT)
    try:
        pipeline.start()
        done = chunks_of(pipeline, log)
    finally:
        pipeline.stop()
    for controls, finished in zip(log, done, strict=True):
        expected, made = wanted.step(state, controls).pictures, finished.chunk.pictures
        assert isinstance(expected, YuvFrames) and isinstance(made, YuvFrames)
        assert np.array_equal(expected.planes, made.planes)


@pytest.mark.parametrize("plan", [ONE, TWO], ids=["one stage", "two stages"])
def test_the_pipeline_is_equal_bit_for_bit(
    two: Pipeline, expected: dict[str, list[np.ndarray]], plan: StagePlan
) -> None:
    two.assign(plan)
    done = chunks_of(two, causal_log(CHUNKS))
    assert same(done, expected["a"])
    assert [len(f.chunk.frames) for f in done] == frame_counts(causal_log(CHUNKS))
    assert all(f.chunk.audio.size == 0 and f.chunk.scene is None for f in done)
    names = [span.name for span in done[0].spans]
    assert names == ["prepare", "step 0", "step 1", "step 2", "step 3", "decode"]
    # The clean pass comes behind the frames: the next chunk tells of it, so that its time counts.
    assert all([span.name for span in f.spans] == ["clean pass", *names] for f in done[1:])


def test_three_stages_are_refused_and_why_is_told() -> None:
    pipeline = Pipeline(SPEC, 3, patience=PATIENT)
    try:
        with pytest.raises(PipelineFailed, match=r"can use 1 to 2: its 5 calls .* share a cache"):
            pipeline.start()
    finally:
        pipeline.stop()


def test_a_plan_that_would_take_a_cache_apart_is_refused(two: Pipeline) -> None:
    for bad in (StagePlan(((0, 1), (2, 3, 4)), 1), StagePlan(((0, 1, 2, 3),), 0)):
        with pytest.raises(ValueError, match="of a model with 5 calls"):
            two.assign(bad)
    assert two.plan == TWO and two.running


def test_dropped_chunks_are_decoded_and_not_shown(
    two: Pipeline, expected: dict[str, list[np.ndarray]]
) -> None:
    """What comes behind them is as if nothing had been dropped: the decoder saw all of it."""
    log = causal_log(CHUNKS)
    two.open("a", StreamRequest(seed=1))
    done = [f for controls in log[:9] for f in make_chunk(two, "a", controls)]
    two.drop("a")
    for controls in log[9:]:
        two.submit("a", controls)
    dropped: list[int] = []
    end_s = time.monotonic() + PATIENCE_S
    while len(done) + len(dropped) < CHUNKS:
        assert time.monotonic() < end_s
        for event in two.poll(0.05):
            if isinstance(event, Dropped):
                dropped.append(event.index)
            elif isinstance(event, Finished):
                done.append(event)
    two.close("a")
    assert dropped and max(dropped) == 8
    assert [f.chunk.index for f in done] == [k for k in range(CHUNKS) if k not in dropped]
    assert all(np.array_equal(f.chunk.frames, expected["a"][f.chunk.index]) for f in done)


@pytest.mark.parametrize(
    ("rank", "before"),
    [
        pytest.param(0, 0, id="the student, before any chunk", marks=pytest.mark.long),
        pytest.param(1, 5, id="the decoder, before a snapshot", marks=pytest.mark.long),
        pytest.param(0, 17, id="the student, behind a snapshot"),
        pytest.param(1, 19, id="the decoder, behind a snapshot", marks=pytest.mark.long),
    ],
)
def test_a_killed_stage_is_a_pause_and_nothing_else(
    two: Pipeline, expected: dict[str, list[np.ndarray]], rank: int, before: int
) -> None:
    streams = Streams(two)
    streams.submit(0, CHUNKS)
    streams.until(lambda: len(streams.done["a"]) >= before)
    os.kill(two.pids[rank], signal.SIGKILL)
    streams.until(lambda: all(len(done) == CHUNKS for done in streams.done.values()))
    streams.close()
    assert [type(event) for event in streams.rest] == [Restarting, Restarted]
    assert all(same(streams.done[name], expected[name]) for name in "ab")


def test_a_snapshot_in_stages_has_the_decoder_and_does_not_grow(two: Pipeline) -> None:
    sizes: list[dict[str, int]] = []
    two.open("a", StreamRequest(seed=1))
    for _ in range(2):
        for _ in range(16):
            make_chunk(two, "a", Controls())
        make_rest(two)
        start = saved(two, "a")
        sizes.append(
            {
                name: part.size if isinstance(part, PartPlace) else len(part)
                for name, part in start.parts.items()
            }
        )
    two.close("a")
    assert sorted(sizes[0]) == ["cache.0", "decoder", "prepare", "returns"]
    for name, size in sizes[0].items():
        assert abs(size - sizes[1][name]) <= 16, name
    assert sizes[0]["decoder"] > 10_000


@pytest.mark.parametrize("how", some_of(["raise", "kill"], "kill"))
def test_a_poison_chunk_costs_its_own_stream_and_no_other(
    two: Pipeline, expected: dict[str, list[np.ndarray]], how: str
) -> None:
    """Also when older chunks of the other stream are under way, on the other stage."""
    streams = Streams(two)
    streams.submit(0, 6)
    streams.submit(6, CHUNKS, "a")
    two.submit("b", Controls(prompt=POISON + how))
    streams.until(lambda: bool(streams.lost) and len(streams.done["a"]) == CHUNKS)
    streams.close()
    (lost,) = streams.lost
    assert lost.stream == "b" and not lost.refused
    assert same(streams.done["a"], expected["a"])
    assert same(streams.done["b"], expected["b"][:6])
    restarts = sum(isinstance(event, Restarting) for event in streams.rest)
    assert restarts == (2 if how == "raise" else 3)
    causes = {event.cause for event in streams.rest if isinstance(event, Restarting)}
    assert causes == {"failed" if how == "raise" else "died"}


def test_a_chunk_that_breaks_its_stage_once_is_made_again(
    two: Pipeline, expected: dict[str, list[np.ndarray]], tmp_path: Path
) -> None:
    streams = Streams(two)
    streams.submit(0, 6, "a")
    two.submit("b", Controls(prompt=f"{POISON}kill once:{tmp_path / 'broken'}"))
    two.submit("b", Controls())
    streams.until(lambda: len(streams.done["a"]) == 6 and len(streams.done["b"]) == 2)
    streams.close()
    assert streams.lost == [] and same(streams.done["a"], expected["a"][:6])


@pytest.mark.parametrize("how", some_of(["hang", "stop"], "stop"))
def test_a_stage_that_stands_still_is_noticed_in_time(how: str, tmp_path: Path) -> None:
    """A hang after the longest part of a chunk and the patience; a stop without a heartbeat."""
    patience = Patience(silent_s=3.0, late_s=2.0)
    pipeline = Pipeline(SPEC, 1, patience=patience)
    try:
        pipeline.start()
        pipeline.open("a", StreamRequest(seed=1))
        make_chunk(pipeline, "a", Controls())
        make_rest(pipeline)
        longest_s = pipeline._pool.longest_part_s
        pipeline.submit("a", Controls(prompt=f"{POISON}{how} once:{tmp_path / 'broken'}"))
        begin_s, events = time.monotonic(), list[Event]()
        while not events:
            events += pipeline.poll(0.05)
        noticed_s = time.monotonic() - begin_s
        (restarting,) = events
        assert isinstance(restarting, Restarting) and restarting.cause == "hung"
        # the rest is what a busy machine may add, and far from never
        assert noticed_s < 3.0 + longest_s + 30.0
        (done,) = make_rest(pipeline)
        assert done.chunk.index == 1
    finally:
        pipeline.stop()


def test_a_pipeline_that_cannot_start_tries_again_for_ever(tmp_path: Path) -> None:
    """With pauses that grow up to a limit; a good start makes them short again."""
    broken = tmp_path / "broken"
    spec = ModelSpec("tiny_causal:TinyCausal", {"broken": str(broken)})
    backoff = Backoff(first_s=0.1, most_s=0.4)
    pipeline = Pipeline(spec, 1, patience=PATIENT, backoff=backoff)
    try:
        pipeline.start()
        pipeline.open("a", StreamRequest(seed=1))
        make_chunk(pipeline, "a", Controls())
        make_rest(pipeline)
        broken.touch()
        os.kill(pipeline.pids[0], signal.SIGKILL)
        told: list[Event] = []
        end_s = time.monotonic() + PATIENCE_S
        while len(told) < 6:
            assert time.monotonic() < end_s, told
            told += pipeline.poll(0.05)
        assert all(isinstance(event, Restarting) for event in told)
        first, *failed = [event for event in told if isinstance(event, Restarting)]
        assert first.cause == "died" and {event.cause for event in failed} == {"failed"}
        pauses = [event.estimate_s - first.estimate_s for event in failed]
        assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])
        assert "no weights today" in failed[0].detail
        pipeline.submit("a", Controls())
        broken.unlink()
        (done,) = make_rest(pipeline)
        assert done.chunk.index == 1
        assert pipeline._failed_starts == 0 and pipeline.restarts == 1
    finally:
        pipeline.stop()


def test_pauses_grow_up_to_a_limit_however_long_it_lasts() -> None:
    backoff = Backoff(first_s=0.5, most_s=30.0)
    assert [backoff.pause_s(k) for k in (0, 1, 2, 3)] == [0.0, 0.5, 1.0, 2.0]
    assert backoff.pause_s(8) == backoff.pause_s(100_000) == 30.0


@pytest.mark.long
def test_streams_come_and_go_and_are_dropped_while_a_start_fails(tmp_path: Path) -> None:
    """All that is asked meanwhile is done once the stages are up, and in order."""
    broken = tmp_path / "broken"
    spec = ModelSpec("tiny_causal:TinyCausal", {"broken": str(broken)})
    pipeline = Pipeline(spec, 2, patience=PATIENT, backoff=Backoff(0.1, 0.2))
    log, model = causal_log(CHUNKS), TinyCausal()
    try:
        pipeline.start()
        streams = Streams(pipeline)
        streams.submit(0, 18)
        streams.until(lambda: all(len(done) == 18 for done in streams.done.values()))
        broken.touch()
        os.kill(pipeline.pids[1], signal.SIGKILL)
        streams.until(lambda: len(streams.rest) >= 3)
        for controls in log[18:21]:
            pipeline.submit("a", controls)
        pipeline.drop("a")
        for controls in log[21:]:
            pipeline.submit("a", controls)
        pipeline.close("b")
        pipeline.open("b", StreamRequest(seed=7))
        pipeline.submit("b", log[0])
        pipeline.open("c", StreamRequest(seed=8))
        streams.done["b"].clear()
        pipeline.close("c")
        broken.unlink()
        streams.until(lambda: len(streams.done["a"]) == CHUNKS - 3 and bool(streams.done["b"]))
        assert [event.index for event in streams.rest if isinstance(event, Dropped)] == [18, 19, 20]
        whole = sequential(log, 1, model)
        for finished in streams.done["a"]:
            assert np.array_equal(finished.chunk.frames, whole[finished.chunk.index])
        assert same(streams.done["b"], sequential(log[:1], 7, model))
        assert pipeline.start_s < 60
    finally:
        pipeline.stop()


def test_a_stage_that_dies_while_work_is_shared_out_anew(two: Pipeline) -> None:
    """There is a restart and an end to it, and the new plan holds."""
    os.kill(two.pids[1], signal.SIGSTOP)
    killed = two.pids
    os.kill(killed[0], signal.SIGKILL)
    two.assign(ONE)
    events = two.poll(0.0)
    assert [type(event) for event in events] == [Restarting, Restarted]
    assert two.running and two.plan == ONE
    assert not any(alive(pid) for pid in killed)


def test_nothing_happens_after_the_end() -> None:
    """Whatever it was doing: also in the middle of a start, which leaves no process."""
    pipeline = Pipeline(SPEC, 2)
    pipeline._launch()
    pids = pipeline.pids
    assert all(pids)
    pipeline.stop()
    assert pipeline.poll(0.1) == [] and not pipeline.running
    assert not any(alive(pid) for pid in pids)
    pipeline.stop()
