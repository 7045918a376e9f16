"""Frames are made on a queue of their own: the order of all hand-overs, by a tape of the queues."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np
import pytest
import torch

from rollcast.models.contract import FULL, Chunk, Controls, Economy, StreamRequest
from rollcast.models.device_queues import SideQueue
from rollcast.models.pipeline.heartbeat import Heartbeat
from rollcast.models.pipeline.messages import Assign, Done, FromStage, Open, Step
from rollcast.models.pipeline.stage import Stage
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.tiny_decoder import TinyDecoder
from rollcast.models.yuv_frames import YuvFrames

from ...queue_tape import MAIN, QueueTape, TapeMark
from ..conftest import PROMPTS, SIZE, ModelOf
from ..test_tiny_decoder import CONFIG, tiny_decoder

pytestmark = pytest.mark.slow

CHUNKS = 4


TINY = Economy(tiny_decoder=True)


def beside(model: WanModel, tape: QueueTape | None, tiny: TinyDecoder | None = None) -> WanModel:
    parts = model._preset, model._calls, model._decoder
    return WanModel(*parts, SIZE, tiny=tiny, yuv=True, queues=tape)


def planes(chunk: Chunk) -> np.ndarray:
    assert isinstance(chunk.pictures, YuvFrames)
    return chunk.pictures.planes


def streamed(model: WanModel, tape: QueueTape | None, economy: Economy = FULL) -> list[Chunk]:
    state, made = model.start(StreamRequest(seed=1)), list[Chunk]()
    for k in range(CHUNKS):
        asked = FULL if k == 0 else economy
        made.append(
            model.step(state, Controls(prompt=PROMPTS[0] if k == 2 else None, economy=asked))
        )
    if tape is not None:
        tape.host_waits = True
        saved = model.snapshot(state)
        tape.host_waits = False
        assert model.snapshot(model.restore(saved)) == saved
    return made


@pytest.fixture
def model(model_of: ModelOf) -> WanModel:
    return model_of("longlive")


@pytest.mark.long
def test_frames_are_made_beside_what_follows_and_nothing_races(model: WanModel) -> None:
    tape = QueueTape()
    with tape:
        made = streamed(beside(model, tape), tape)
    assert not tape.races
    assert set(tape.work) == {MAIN, "decoder", "copies"}
    # nobody has waited for a chunk's copy, and the calls of the next ones were asked for
    assert len(tape.marks) == CHUNKS and not any(mark.query() for mark in tape.marks)
    assert not any(chunk.pictures.ready for chunk in made if isinstance(chunk.pictures, YuvFrames))
    plain = WanModel(model._preset, model._calls, model._decoder, SIZE, yuv=True)
    for one, other in zip(made, streamed(plain, None), strict=True):
        assert np.array_equal(planes(one), planes(other))
    assert all(mark.query() for mark in tape.marks)


@pytest.mark.long
def test_nothing_races_where_a_tiny_decoder_takes_over(model: WanModel) -> None:
    tape, tiny = QueueTape(), tiny_decoder(CONFIG)
    with tape:
        made = streamed(beside(model, tape, tiny), tape, TINY)
    assert not tape.races and set(tape.work) == {MAIN, "decoder", "copies"}
    plain = streamed(beside(model, None, tiny), None, TINY)
    for one, other in zip(made, plain, strict=True):
        assert np.array_equal(planes(one), planes(other))
    assert not np.array_equal(planes(made[-1]), planes(streamed(beside(model, None), None)[-1]))


@pytest.mark.parametrize("missing", ["wait", "keep", "join"])
def test_a_hand_over_that_is_left_out_is_found(
    model: WanModel, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def no_wait(self: SideQueue, *given: torch.Tensor | None) -> Iterator[None]:
        assert self._queues is not None
        side = self._queues.other(self._name)
        for tensor in given:
            if tensor is not None:
                self._queues.keep(tensor, side)
        with self._queues.on(side):
            yield

    tape = QueueTape()
    if missing == "wait":
        monkeypatch.setattr(SideQueue, "work", no_wait)
    elif missing == "join":
        monkeypatch.setattr(SideQueue, "join", lambda self: None)
    else:
        monkeypatch.setattr(tape, "keep", lambda tensor, queue: None)
    with tape:
        streamed(beside(model, tape), tape)
    told = {"wait": "does not wait", "join": "does not wait", "keep": "not kept"}[missing]
    assert any(told in race for race in tape.races)


class HeldMark(TapeMark):
    """A copy that is not done before the test lets it."""

    let = threading.Event()

    def synchronize(self) -> None:
        assert self.let.wait(60)
        super().synchronize()


class HeldTape(QueueTape):
    def mark(self, queue: str) -> TapeMark:
        self.marks.append(HeldMark(self, queue))
        return self.marks[-1]


class Kept(Heartbeat):
    """A heart that keeps what it sends of chunks."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.told: list[Done] = []

    def send(self, message: FromStage) -> None:
        if isinstance(message, Done):
            self.told.append(message)


def test_a_stage_asks_for_the_next_chunk_before_frames_are_copied(model: WanModel) -> None:
    """All that the second chunk asks of the device comes while the first one is on its way."""
    ours, executor = Pipe()
    heart, tape, log = Kept(ours), HeldTape(), [Controls(), Controls(prompt=PROMPTS[0]), Controls()]
    tape_model = beside(model, tape)
    assert tape_model.runs_ahead
    calls = len(tape_model.chunk_steps.calls)
    stage = Stage(0, tape_model, heart, None)
    HeldMark.let.clear()
    with tape, torch.inference_mode():
        stage._do(Assign(StagePlan((tuple(range(calls)),), 0), 1, 0))
        stage._do(Open("a.0", StreamRequest(seed=1)))
        asked: list[int] = []
        for controls in log:
            stage._do(Step("a.0", controls, False))
            asked.append(tape.work[MAIN])
            assert not heart.told and not any(mark.query() for mark in tape.marks)
        assert asked[0] < asked[1] < asked[2] and len(tape.marks) == len(log)
        HeldMark.let.set()
        while len(heart.told) < len(log):
            stage._do(stage._next())
    assert not tape.races
    plain = WanModel(model._preset, model._calls, model._decoder, SIZE, yuv=True)
    state = plain.start(StreamRequest(seed=1))
    for told, controls in zip(heart.told, log, strict=True):
        assert told.chunk is not None and told.chunk.frames is not None
        assert np.array_equal(told.chunk.frames, planes(plain.step(state, controls)))
    ours.close()
    executor.close()
