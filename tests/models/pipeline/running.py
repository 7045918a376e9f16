"""Running pipelines of the tiny model in tests, and what they should have made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rollcast.models.contract import Controls, Model, StreamRequest
from rollcast.models.pipeline.events import Event, Finished
from rollcast.models.pipeline.executor import Executor, make_chunk, make_rest
from rollcast.models.pipeline.messages import ModelSpec, Restore
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.pipeline.stage_pool import Patience

from .tiny import TinyModel

PATIENT = Patience(silent_s=30.0, start_silent_s=240.0, late_s=30.0)
"""For tests that are not about silence: no stage is lost for want of a processor."""

OFTEN = math.inf
"""The share of time that snapshots may take, for tests that count on one behind every 16 chunks."""


class Shared:
    """Stages that tests share, for starting processes is what takes time.

    What a failed test leaves in the middle of something is started anew: it fails alone.
    """

    def __init__(self, make: Callable[[], Pipeline]) -> None:
        self._make = make
        self._kept: Pipeline | None = None

    @contextmanager
    def lent(self) -> Iterator[Pipeline]:
        """For one test."""
        pipeline, self._kept = self._kept, None
        try:
            if pipeline is None:
                pipeline = self._make()
                pipeline.start()
            yield pipeline
            if pipeline.running and not pipeline._logs:
                self._kept = pipeline
        finally:
            if pipeline is not None and self._kept is None:
                pipeline.stop()

    def stop(self) -> None:
        """End them."""
        if self._kept is not None:
            self._kept.stop()


def tiny(name: str = "TinyModel", **arguments: Any) -> ModelSpec:
    """How a stage makes the tiny model."""
    return ModelSpec(f"tiny:{name}", arguments)


def sequential(
    log: Sequence[Controls], seed: int = 1, model: Model[Any] | None = None
) -> list[np.ndarray]:
    """The frames of each chunk, made by one process."""
    executor = Sequential(model or TinyModel())
    return [finished.chunk.frames for finished in chunks_of(executor, log, seed)]


def chunks_of(executor: Executor, log: Sequence[Controls], seed: int = 1) -> list[Finished]:
    """A stream of its own through an executor."""
    executor.open("a", StreamRequest(seed=seed))
    done = [f for controls in log for f in make_chunk(executor, "a", controls)]
    done += make_rest(executor)
    executor.close("a")
    return done


def collect(
    pipeline: Pipeline, count: int, *, until_s: float = 60.0
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


def saved(pipeline: Pipeline, stream: str) -> Restore:
    """The snapshot behind a stream's last chunk, once all of its parts have come."""
    log, end_s = pipeline._logs[stream], time.monotonic() + 20
    while log._controls:
        assert time.monotonic() < end_s, log
        assert pipeline.poll(0.05) == []
    start, replay = log.begin_again()
    assert isinstance(start, Restore) and replay == []
    return start


def same(done: Sequence[Finished], frames: Sequence[np.ndarray]) -> bool:
    """Whether all chunks came in order, equal to these bit for bit."""
    return [f.chunk.index for f in done] == list(range(len(frames))) and all(
        np.array_equal(f.chunk.frames, each) for f, each in zip(done, frames, strict=True)
    )
