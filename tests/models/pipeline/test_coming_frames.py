"""Frames on their way from a GPU: a stage goes on meanwhile, and tells of them in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from multiprocessing import Pipe

import numpy as np
import pytest
import torch
from torch import Tensor

from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.pipeline.heartbeat import Heartbeat
from rollcast.models.pipeline.messages import Assign, Close, Done, FromStage, Open, Step
from rollcast.models.pipeline.stage import Stage
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.staged_model import ChunkPlan, Row
from rollcast.models.state import DecoderState
from rollcast.models.yuv_frames import YuvFrames, planes_shape

from .tiny_causal import INFO, TinyCausal

ALONE = StagePlan((tuple(range(5)),), 0)


class Coming:
    """Planes that come when they are waited for, or when the test says so."""

    def __init__(self, planes: np.ndarray, done: list[str]) -> None:
        self.ready = False
        self._planes, self._done = planes, done

    def wait(self) -> np.ndarray:
        self._done.append("waited")
        self.ready = True
        return self._planes


class Queued(TinyCausal):
    """A model that works as on a GPU: its frames come later; `done` notes what was asked for."""

    def __init__(self, done: list[str]) -> None:
        super().__init__()
        self.done, self.coming = done, list[Coming]()

    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        clean = self.chunk_steps.calls[rows[0].call].clean_pass
        self.done.append("clean pass" if clean else "step")
        return super().denoise(rows, fill=fill)

    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        frames = super().decode(plan, latents, state).frames
        self.done.append("decode")
        planes = np.zeros((len(frames), *planes_shape(INFO.height, INFO.width)), np.uint8)
        self.coming.append(Coming(planes, self.done))
        pictures = YuvFrames(self.coming[-1], len(frames), INFO.height, INFO.width)
        return Chunk(plan.index, pictures, np.zeros(0, np.int16))


class Noted(Heartbeat):
    """A heart that also keeps what it sends of chunks."""

    told: list[Done]

    def send(self, message: FromStage) -> None:
        if isinstance(message, Done):
            self.told.append(message)


@pytest.fixture
def heart() -> Iterator[Noted]:
    ours, executor = Pipe()
    heart = Noted(ours)
    heart.told = []
    yield heart
    ours.close()
    executor.close()


@pytest.fixture
def stage(heart: Noted) -> Iterator[tuple[Stage, Queued]]:
    with torch.inference_mode():
        model = Queued([])
        stage = Stage(0, model, heart, None)
        stage._do(Assign(ALONE, 1, 0))
        stage._do(Open("a.0", StreamRequest(seed=1)))
        yield stage, model


def test_the_clean_pass_is_queued_before_frames_are_waited_for(
    stage: tuple[Stage, Queued], heart: Noted
) -> None:
    working, model = stage
    working._do(Step("a.0", Controls(), False))
    assert model.done == ["step"] * 4 + ["decode", "clean pass"]
    assert not heart.told
    # nothing else is there to do: now they are waited for
    model.coming[0].wait = lambda: (working.receive(Close("b.0")), Coming.wait(model.coming[0]))[1]
    assert working._next() == Close("b.0")
    assert model.done[-1] == "waited" and [told.index for told in heart.told] == [0]
    decoded = heart.told[0].spans[-1]
    assert decoded.name == "decode" and decoded.end_s > heart.told[0].spans[-2].end_s


def test_the_next_chunk_is_queued_first_and_none_overtakes(
    stage: tuple[Stage, Queued], heart: Noted
) -> None:
    working, model = stage
    working._do(Step("a.0", Controls(), False))
    working.receive(Step("a.0", Controls(), False))
    working._do(working._next())
    assert model.done.count("decode") == 2 and "waited" not in model.done
    model.coming[1].ready = True
    working._let_go()
    assert not heart.told
    model.coming[0].ready = True
    working._let_go()
    assert [told.index for told in heart.told] == [0, 1]


def test_frames_go_before_a_snapshot(stage: tuple[Stage, Queued], heart: Noted) -> None:
    working, model = stage
    working._do(Step("a.0", Controls(), True))
    assert "waited" in model.done and [told.index for told in heart.told] == [0]
