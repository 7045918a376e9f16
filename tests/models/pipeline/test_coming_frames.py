"""Frames on their way from a GPU: a stage goes on meanwhile, and tells of them in their order."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe

import numpy as np
import pytest
import torch
from torch import Tensor

from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.pipeline.heartbeat import Heartbeat
from rollcast.models.pipeline.messages import Assign, Done, FromStage, Open, Step
from rollcast.models.pipeline.stage import Stage
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.staged_model import ChunkPlan, Row
from rollcast.models.state import DecoderState
from rollcast.models.yuv_frames import YuvFrames, planes_shape

from .tiny_causal import INFO, TinyCausal

ALONE = StagePlan((tuple(range(5)),), 0)


class Coming:
    """Planes that come when the test says so."""

    def __init__(self, planes: np.ndarray, done: list[str]) -> None:
        self.come = threading.Event()
        self.error: Exception | None = None
        self._planes, self._done = planes, done

    @property
    def ready(self) -> bool:
        return self.come.is_set()

    def wait(self) -> np.ndarray:
        assert self.come.wait(60)
        if self.error is not None:
            raise self.error
        self._done.append("waited")
        return self._planes


class Queued(TinyCausal):
    """A model that works as on a GPU: its frames come later; `done` notes what was asked for."""

    def __init__(self, done: list[str]) -> None:
        super().__init__()
        self.done, self.coming = done, list[Coming]()
        self.at_once = False

    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        clean = self.chunk_steps.calls[rows[0].call].clean_pass
        self.done.append("clean pass" if clean else "step")
        return super().denoise(rows, fill=fill)

    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        frames = super().decode(plan, latents, state).frames
        self.done.append("decode")
        planes = np.zeros((len(frames), *planes_shape(INFO.height, INFO.width)), np.uint8)
        self.coming.append(coming := Coming(planes, self.done))
        if self.at_once:
            coming.come.set()
        pictures = YuvFrames(coming, len(frames), INFO.height, INFO.width)
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
    model.coming[0].come.set()
    working._do(working._next())
    assert [told.index for told in heart.told] == [0]
    decoded = heart.told[0].spans[-1]
    assert decoded.name == "decode" and decoded.end_s > heart.told[0].spans[-2].end_s


def test_what_comes_is_done_while_frames_are_on_their_way(
    stage: tuple[Stage, Queued], heart: Noted
) -> None:
    """A stage that waits, for frames alone, takes the next chunk at once and then tells of both."""
    working, model = stage
    working._do(Step("a.0", Controls(), False))
    working.receive(Step("a.0", Controls(), False))
    working._do(working._next())
    assert model.done.count("clean pass") == 2 and "waited" not in model.done and not heart.told
    for each in reversed(model.coming):
        each.come.set()
    while len(heart.told) < 2:
        working._do(working._next())
    first, second = (told.spans for told in heart.told)
    assert [told.index for told in heart.told] == [0, 1]
    # the device was at work on the second one from when it had made the first one
    assert second[-1].begin_s >= first[-1].end_s
    assert all(span.begin_s <= span.end_s for span in (*first, *second))


def test_the_next_chunk_is_queued_first_and_none_overtakes(
    stage: tuple[Stage, Queued], heart: Noted
) -> None:
    working, model = stage
    working._do(Step("a.0", Controls(), False))
    working._do(Step("a.0", Controls(), False))
    model.coming[1].come.set()
    working._let_go()
    assert not heart.told
    model.coming[0].come.set()
    working._let_go()
    assert [told.index for told in heart.told] == [0, 1]


def test_who_waits_in_vain_says_for_whom(stage: tuple[Stage, Queued], heart: Noted) -> None:
    """A device that fails at its work says so when it is waited for."""
    working, model = stage
    working._do(Step("a.0", Controls(), False))
    model.coming[0].error = RuntimeError("device-side assert")
    model.coming[0].come.set()
    message = working._next()
    assert (heart.working.stream, heart.working.index) == ("a.0", 0)
    with pytest.raises(RuntimeError, match="device-side assert"):
        working._do(message)


def test_frames_go_before_a_snapshot(stage: tuple[Stage, Queued], heart: Noted) -> None:
    working, model = stage
    model.at_once = True
    working._do(Step("a.0", Controls(), True))
    assert "waited" in model.done and [told.index for told in heart.told] == [0]
