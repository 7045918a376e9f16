"""The process of a model of our own is killed in the middle of batches: nobody loses a bit."""

from __future__ import annotations

import os
import random
import signal
import time
import zlib
from collections.abc import Sequence

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.events import Event, Finished, Lost, Restarted
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.past import Past
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.registry import MODEL_FACTORY

from .running import PATIENT

pytestmark = [pytest.mark.processes, pytest.mark.long]
STREAMS, CHUNKS = ("a", "b", "c"), 8


def controls_of(model: str) -> list[Controls]:
    if model == "toy-world":
        return [Controls(prompt=("brisk cold", None)[k % 2]) for k in range(CHUNKS)]
    speech = np.random.default_rng(2).integers(-9000, 9000, (CHUNKS, 2560)).astype(np.int16)
    return [Controls(audio=each) for each in speech]


class Film:
    """What came out: of each stream the checksum of each chunk, and of how many rows it was one."""

    def __init__(self) -> None:
        self.made = {stream: dict[int, int]() for stream in STREAMS}
        self.rows = {stream: dict[int, int]() for stream in STREAMS}
        self.restarts = 0

    def take(self, events: Sequence[Event]) -> None:
        for event in events:
            assert not isinstance(event, Lost), event
            self.restarts += isinstance(event, Restarted)
            if isinstance(event, Finished):
                assert event.chunk.index not in self.made[event.stream], "each but once"
                crc = zlib.crc32(event.chunk.frames.tobytes())
                self.made[event.stream][event.chunk.index] = crc
                self.rows[event.stream][event.chunk.index] = event.rows


@pytest.mark.parametrize(
    ("model", "scenes", "batch_s"),
    [("pocket", (None,) * 3, 0.3), ("toy-world", ("ema .9", "none", "static"), 0.04)],
)
def test_who_is_killed_in_a_batch_loses_nothing_and_what_came_out_can_be_made_again(
    model: str, scenes: tuple[str | None, ...], batch_s: float
) -> None:
    """At random moments of a batch, one of them hardly begun; bit for bit, by the rows it had."""
    draw, told = random.Random(11), controls_of(model)
    requests = [StreamRequest(seed=seed, scene=scene) for seed, scene in enumerate(scenes)]
    kills = {2: batch_s / 30, 5: draw.uniform(0.0, batch_s), 6: draw.uniform(0.0, batch_s)}
    pipeline = Pipeline(
        ModelSpec(MODEL_FACTORY, {"name": model, "threads": 1}),
        patience=PATIENT,
        snapshot_chunks=3,
    )
    film, again = Film(), Film()
    pipeline.start()
    try:
        for request, stream in zip(requests, STREAMS, strict=True):
            pipeline.open(stream, request)
        for number, controls in enumerate(told):
            pipeline.submit_together([(stream, controls) for stream in STREAMS])
            if number in kills:
                time.sleep(kills[number])
                os.kill(pipeline.pids[0], signal.SIGKILL)
                before = film.restarts
                while film.restarts == before:
                    film.take(pipeline.poll(0.05))
            film.take(pipeline.finish())
        for request, stream in zip(requests, STREAMS, strict=True):
            pipeline.close(stream)
            rows = {index: k for index, k in film.rows[stream].items() if k > 1}
            past = Past(request, {}, -1, told, 0, rows)
            pipeline.adopt(stream, past)
        again.take(pipeline.finish())
    finally:
        pipeline.stop()
    assert film.restarts == len(kills)
    assert all(sorted(film.made[stream]) == list(range(CHUNKS)) for stream in STREAMS)
    assert film.made == again.made and film.rows == again.rows
    together = [film.rows[stream][number] for stream in STREAMS for number in (1, 3, 4, 7)]
    assert together == [len(STREAMS)] * len(together), "and batches go on behind it"
