"""Streams of tiny published models in an executor, in stages, and through the loss of one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.batched import Batched
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.executor import Executor
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.stage_pool import Patience
from rollcast.models.registry import MODEL_FACTORY, preload
from rollcast.models.wan.stream.model import WanModel

from .conftest import SIZE

REQUEST = StreamRequest(seed=1)
SNAPSHOT_CHUNKS = 4
"""Between two snapshots of a stream that is saved and lost: the next ones are no different."""
PATIENT = Patience(silent_s=30.0, start_silent_s=240.0, late_s=30.0)
"""With a busy machine: what the stages import takes it half a minute."""


def frames(chunks: Sequence[Chunk]) -> np.ndarray:
    return np.concatenate([chunk.frames for chunk in chunks])


def submitted(executor: Executor, log: Sequence[Controls]) -> list[Chunk]:
    """The next chunks of the open stream "a", one submitted after the other."""
    done: list[Chunk] = []
    for number, controls in enumerate(log):
        executor.submit("a", controls)
        while len(done) <= number:
            events = executor.poll(1.0)
            done += [each.chunk for each in events if isinstance(each, Finished)]
    return done


def beside(
    model: WanModel,
    log: Sequence[Controls],
    other: StreamRequest,
    other_log: Sequence[Controls],
    request: StreamRequest = REQUEST,
) -> np.ndarray:
    """A stream's frames, made in one batch with another one."""
    executor = Batched(model, 2)
    executor.open("a", request)
    executor.open("b", other)
    done: list[Finished] = []
    for mine, theirs in zip(log, other_log, strict=True):
        executor.submit("a", mine)
        executor.submit("b", theirs)
        done += [each for each in executor.poll(0.0) if isinstance(each, Finished)]
    return frames([each.chunk for each in done if each.stream == "a"])


@contextmanager
def staged(
    name: str,
    folder: Path,
    stages: int,
    request: StreamRequest = REQUEST,
    *,
    size: tuple[int, int] = SIZE,
    decoder: Path | None = None,
    tiny_decoder: Path | None = None,
    **more: Any,
) -> Iterator[Pipeline]:
    """The model in processes, with stream "a" open; `more` goes to the pipeline."""
    arguments: dict[str, Any] = {
        "name": name, "weights": [str(folder)], "size": size, "threads": 1,
    }  # fmt: skip
    files = {"decoder": decoder, "tiny_decoder": tiny_decoder}
    arguments |= {name: str(file) for name, file in files.items() if file is not None}
    spec = ModelSpec(MODEL_FACTORY, arguments, preload=preload(name))
    pipeline = Pipeline(spec, stages, **{"patience": PATIENT, **more})
    try:
        pipeline.start()
        pipeline.open("a", request)
        yield pipeline
    finally:
        pipeline.stop()
    torch.set_num_threads(1)


def through_a_kill(
    name: str,
    folder: Path,
    log: Sequence[Controls],
    request: StreamRequest = REQUEST,
    *,
    stages: int = 2,
    killed: int = 0,
    size: tuple[int, int] = SIZE,
    **more: Any,
) -> list[Chunk]:
    """The stream's chunks, though a stage is killed before the last two."""
    more |= {"backoff": Backoff(first_s=0.1), "snapshot_chunks": SNAPSHOT_CHUNKS}
    with staged(name, folder, stages, request, size=size, **more) as pipeline:
        made = submitted(pipeline, log[:-2])
        while pipeline._logs["a"].settled is None:
            assert not pipeline.poll(0.1), "parts of the snapshot alone are under way"
        os.kill(pipeline.pids[killed], signal.SIGKILL)
        made += submitted(pipeline, log[-2:])
        assert pipeline.restarts == 1
    return made
