"""Frames are made on a queue of their own: the order of all hand-overs, by a tape of the queues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.device_queues import SideQueue
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.yuv_frames import YuvFrames

from ...queue_tape import MAIN, QueueTape
from ..conftest import SIZE, ModelOf

pytestmark = pytest.mark.slow

CHUNKS = 4


def beside(model: WanModel, tape: QueueTape) -> WanModel:
    return WanModel(model._preset, model._calls, model._decoder, SIZE, yuv=True, queues=tape)


def planes(chunk: Chunk) -> np.ndarray:
    assert isinstance(chunk.pictures, YuvFrames)
    return chunk.pictures.planes


def streamed(model: WanModel, tape: QueueTape | None) -> list[Chunk]:
    state, made = model.start(StreamRequest(seed=1)), list[Chunk]()
    for k in range(CHUNKS):
        made.append(model.step(state, Controls(prompt="a fish" if k == 2 else None)))
    if tape is not None:
        tape.host_waits = True
        saved = model.snapshot(state)
        tape.host_waits = False
        assert model.snapshot(model.restore(saved)) == saved
    return made


@pytest.fixture
def model(model_of: ModelOf) -> WanModel:
    return model_of("longlive")


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
