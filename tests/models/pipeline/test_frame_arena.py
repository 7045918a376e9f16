"""Frames through shared memory: every chunk once, nothing that is not there, nothing that stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.frame_arena import FrameArena
from rollcast.models.pipeline.messages import Done, MadeChunk, ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.test_pattern import TestPattern

from ...processes import alive
from .running import PATIENT, chunks_of, same, sequential

pytestmark = pytest.mark.processes
PATTERN = ModelSpec("rollcast.models.test_pattern:TestPattern")
SHAPE = (2, 4, 6, 3)
BYTES = 2 * 4 * 6 * 3
SLOTS = 3


@pytest.fixture
def ends() -> Iterator[tuple[FrameArena, FrameArena]]:
    """The executor's end and a stage's."""
    ours = FrameArena.create()
    theirs = FrameArena(os.dup(ours.fd))
    ours.resize(SLOTS, BYTES)
    theirs.open(SLOTS)
    yield ours, theirs
    theirs.close()
    ours.close()


def frames(number: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.full(shape, number, np.uint8)


def test_chunks_go_round_and_each_comes_out_as_it_was(ends: tuple[FrameArena, FrameArena]) -> None:
    ours, theirs = ends
    for number in range(4 * SLOTS + 1):
        slot = theirs.write(frames(number))
        assert slot is not None and slot == number % SLOTS
        assert np.array_equal(ours.read(slot, SHAPE), frames(number))


def test_no_slot_is_written_before_it_was_read(ends: tuple[FrameArena, FrameArena]) -> None:
    ours, theirs = ends
    slots = [theirs.write(frames(number)) for number in range(SLOTS + 2)]
    assert slots == [0, 1, 2, None, None], "the others are sent another way"
    for number in range(SLOTS):
        assert np.array_equal(ours.read(number, SHAPE), frames(number))
    assert theirs.write(frames(9)) == 0


def test_what_was_read_is_a_copy(ends: tuple[FrameArena, FrameArena]) -> None:
    ours, theirs = ends
    theirs.write(frames(1))
    kept = ours.read(0, SHAPE)
    for number in range(2, 2 + SLOTS):
        slot = theirs.write(frames(number))
        assert slot is not None
        ours.read(slot, SHAPE)
    assert np.array_equal(kept, frames(1))


def test_fewer_frames_than_there_is_room_for(ends: tuple[FrameArena, FrameArena]) -> None:
    """As the first chunk of a causal decoder has."""
    ours, theirs = ends
    short = (1, *SHAPE[1:])
    assert theirs.write(frames(5, short)) == 0
    assert np.array_equal(ours.read(0, short), frames(5, short))


def test_frames_that_do_not_fit_take_no_slot(ends: tuple[FrameArena, FrameArena]) -> None:
    ours, theirs = ends
    assert theirs.write(frames(1, (3, *SHAPE[1:]))) is None
    assert theirs.write(frames(2)) == 0
    assert np.array_equal(ours.read(0, SHAPE), frames(2))


@pytest.mark.parametrize(
    ("slot", "shape"),
    [
        (1, SHAPE),
        (-1, SHAPE),
        (SLOTS, SHAPE),
        (2**63, SHAPE),
        (0, (3, 4, 6, 3)),
        (0, (-1, -1, 6, 3)),
        (0, (2**32, 2**32, 2**32, 3)),
        (0, (0, 4, 6, 3)),
    ],
)
def test_what_is_not_in_the_arena_is_refused(
    ends: tuple[FrameArena, FrameArena], slot: int, shape: tuple[int, ...]
) -> None:
    ours, theirs = ends
    theirs.write(frames(1))
    with pytest.raises(ValueError, match="no frames"):
        ours.read(slot, shape)
    assert np.array_equal(ours.read(0, SHAPE), frames(1)), "and nothing is lost by that"


def test_before_there_is_room_nothing_fits() -> None:
    arena = FrameArena.create()
    assert arena.write(frames(1)) is None
    with pytest.raises(ValueError, match="no frames"):
        arena.read(0, SHAPE)
    arena.close()


def test_a_stage_that_talks_of_frames_that_are_not_there_is_started_again() -> None:
    """As one that sends no message at all: the stream goes on, equal."""
    pipeline = Pipeline(PATTERN, patience=PATIENT)
    log = [Controls()] * 6
    try:
        pipeline.start()
        for shape, slot in (((4, 128, 128, 3), 2), ((4, 128, 64, 3), 0), ((0, 128, 128, 3), 0)):
            pipeline.open("a", StreamRequest(seed=1))
            done = [f for controls in log[:3] for f in make_chunk(pipeline, "a", controls)]
            done += make_rest(pipeline)
            before = pipeline.restarts
            made = MadeChunk(3, np.zeros(0, np.int16), False, None, (), shape, None, slot)
            pipeline._handle(0, Done(pipeline._logs["a"].key, 3, made, ()))
            loss = pipeline._pool.lost()
            assert loss is not None and "stage 0 sent nonsense" in loss.detail
            done += [f for controls in log[3:] for f in make_chunk(pipeline, "a", controls)]
            done += make_rest(pipeline)
            pipeline.close("a")
            assert pipeline.restarts == before + 1
            assert same(done, sequential(log, 1, TestPattern()))
    finally:
        pipeline.stop()


def test_descriptors_and_memory_do_not_grow_with_restarts() -> None:
    pipeline = Pipeline(PATTERN, patience=PATIENT)
    counts: list[int] = []
    try:
        pipeline.start()
        for _ in range(6):
            chunks_of(pipeline, [Controls()])
            counts.append(len(os.listdir("/proc/self/fd")))
            os.kill(pipeline.pids[0], signal.SIGKILL)
            while pipeline.running:
                pipeline.poll(0.05)
            while not pipeline.running:
                pipeline.poll(0.05)
    finally:
        pipeline.stop()
    assert len(set(counts)) == 1
    assert len(os.listdir("/proc/self/fd")) <= counts[0]
    assert _arenas(os.getpid()) == []


def _arenas(pid: int) -> list[str]:
    """What a process has of frame arenas: its descriptors and its mappings."""
    found: list[str] = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(each)
        except FileNotFoundError:
            continue
        found += [target] if "rollcast-frames" in target else []
    maps = Path(f"/proc/{pid}/maps").read_text()
    return found + [line for line in maps.splitlines() if "rollcast-frames" in line]


def test_a_stage_gives_no_descriptor_of_ours_to_its_children() -> None:
    """It has the link and the arena, and whatever it starts has neither."""
    pipeline = Pipeline(ModelSpec("breakable:Spawning"), patience=PATIENT)
    try:
        pipeline.start()
        (stage,) = pipeline.pids
        assert _arenas(stage)
        sockets = {
            os.readlink(each) for each in Path(f"/proc/{os.getpid()}/fd").iterdir()
            if _link(each).startswith("socket:")
        }  # fmt: skip
        inherited = {_link(each) for each in Path(f"/proc/{stage}/fd").iterdir()}
        assert not sockets & inherited
        (child,) = Path(f"/proc/{stage}/task/{stage}/children").read_text().split()
        assert _arenas(int(child)) == []
        own = {_link(each) for each in Path(f"/proc/{child}/fd").iterdir()}
        assert not {each for each in own & inherited if each.startswith("socket:")}
        os.kill(int(child), signal.SIGKILL)
    finally:
        pipeline.stop()


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


def test_the_memory_is_gone_when_both_ends_are_killed() -> None:
    """It has no name that could be left behind, and no process that holds it."""
    code = (
        "from rollcast.models.contract import Controls, StreamRequest\n"
        "from rollcast.models.pipeline.messages import ModelSpec\n"
        "from rollcast.models.pipeline.pipeline import Pipeline\n"
        f"pipeline = Pipeline(ModelSpec({PATTERN.factory!r}))\n"
        "pipeline.start()\n"
        "print(*pipeline.pids, flush=True)\n"
        "input()\n"
    )
    before = set(os.listdir("/dev/shm"))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    stage = int(process.stdout.readline())
    assert _arenas(process.pid) and _arenas(stage)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()
    end_s = time.monotonic() + 20
    while alive(stage):
        assert time.monotonic() < end_s
        time.sleep(0.02)
    assert {name for name in set(os.listdir("/dev/shm")) - before if "rollcast" in name} == set()
