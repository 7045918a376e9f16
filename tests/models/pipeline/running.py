"""Running pipelines of the tiny model in tests, and what they should have made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rollcast.models.contract import Controls
from rollcast.models.pipeline.events import Event, Finished
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.sequential import Sequential

from .tiny import TinyModel


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
            if pipeline._running and not pipeline._logs:
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
    log: Sequence[Controls], seed: int = 1, model: TinyModel | None = None
) -> list[np.ndarray]:
    """The frames of each chunk, made by one process."""
    executor = Sequential(model or TinyModel())
    executor.open("a", seed=seed)
    return [f.chunk.frames for controls in log for f in executor.step("a", controls)]


def latents_of(pipeline: Pipeline, log: Sequence[Controls]) -> list[Finished]:
    """A stream of its own through the pipeline."""
    pipeline.open("a", seed=1)
    done = [f for controls in log for f in pipeline.step("a", controls)] + pipeline.finish()
    pipeline.close("a")
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


def same(done: Sequence[Finished], frames: Sequence[np.ndarray]) -> bool:
    """Whether all chunks came in order, equal to these bit for bit."""
    return [f.chunk.index for f in done] == list(range(len(frames))) and all(
        np.array_equal(f.chunk.frames, each) for f, each in zip(done, frames, strict=True)
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
