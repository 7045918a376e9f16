"""A model that nobody uses is measured, and again later or where chunks take another time."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest

from rollcast.models.contract import Chunk, Controls, ModelInfo, StreamRequest
from rollcast.models.pipeline.events import Event, Finished, MeasuredBatch
from rollcast.models.pipeline.idle_measure import IdleMeasure
from rollcast.models.pipeline.messages import WorkSpan
from rollcast.models.pipeline.stage_plan import Costs
from rollcast.models.test_pattern import TestPattern

AFTER_S, SOONER_S, AGAIN_S = 5.0, 60.0, 3600.0
ALONE_S = 0.010


class Idle:
    """What is asked of a pipeline: each batch takes 1.5 times as long as a chunk, on its clock."""

    most_rows = 2
    running = is_idle = measured = True

    def __init__(self) -> None:
        self.costs: Costs | None = Costs(0.0, (ALONE_S,), 0.0)
        self.info: ModelInfo = TestPattern().info
        self.now_s = 100.0
        self.streams: Collection[str] = []
        self.measure = IdleMeasure(
            self, AFTER_S, again_s=AGAIN_S, sooner_s=SOONER_S, clock=lambda: self.now_s
        )

    def open(self, stream: str, request: StreamRequest) -> None:
        self.streams = [*self.streams, stream]

    def close(self, stream: str) -> None:
        self.streams = [each for each in self.streams if each != stream]

    def submit_together(self, chunks: Sequence[tuple[str, Controls]]) -> None:
        self.now_s += 1.5 * ALONE_S

    def idle(self, seconds: float) -> int:
        """So many batches of two are measured when nobody comes for so long."""
        told: list[Event] = []
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            told += self.measure.told([])
            self.now_s += min(0.1, seconds / 20)
        return sum(isinstance(each, MeasuredBatch) for each in told)

    def serve(self, chunks: int, took_s: float) -> None:
        """A stream comes, is made so many chunks that take so long each, and goes."""
        self.open("a stream", StreamRequest())
        for index in range(chunks):
            chunk = Chunk(index, np.zeros((1, 8, 8, 3), np.uint8), np.zeros(0, np.int16))
            spans = (WorkSpan(0, "step", self.now_s, self.now_s + took_s),)
            assert len(self.measure.told([Finished("a stream", chunk, spans=spans)])) == 1
            assert not any(each.startswith("(probe") for each in self.streams)
            self.now_s += 0.16
        self.close("a stream")


@pytest.fixture
def measured() -> Idle:
    """It was measured once."""
    idle = Idle()
    assert idle.idle(AFTER_S - 0.2) == 0
    assert idle.idle(AFTER_S) == 1
    return idle


def test_it_is_measured_again_in_an_hour(measured: Idle) -> None:
    assert measured.idle(AGAIN_S - 10.0) == 0
    assert measured.idle(20.0) == 1


def test_never_beside_a_stream_and_not_at_once_behind_it(measured: Idle) -> None:
    measured.now_s += AGAIN_S
    measured.serve(40, ALONE_S)
    assert measured.idle(AFTER_S - 0.2) == 0
    assert measured.idle(1.0) == 1


@pytest.mark.parametrize(("times", "again"), [(1.2, 0), (0.8, 0), (1.5, 1), (0.5, 1)])
def test_sooner_where_chunks_take_another_time(measured: Idle, times: float, again: int) -> None:
    measured.serve(40, times * ALONE_S)
    assert measured.idle(SOONER_S) == again
    # what they took is what the next ones are compared with
    measured.serve(40, times * ALONE_S)
    assert measured.idle(2 * SOONER_S) == 0


def test_one_slow_chunk_says_nothing(measured: Idle) -> None:
    measured.serve(10, ALONE_S)
    measured.serve(3, 50 * ALONE_S)
    assert measured.idle(2 * SOONER_S) == 0


def test_a_replica_is_measured_once() -> None:
    idle = Idle()
    idle.measure.after_s = 0.0
    assert idle.idle(AFTER_S) == 1
    assert idle.idle(2 * AGAIN_S) == 0
