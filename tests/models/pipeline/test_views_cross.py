"""Image, camera and video cross to a model's own process, and survive its loss bit for bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from rollcast.models.contract import CameraMotion, Controls, StreamRequest
from rollcast.models.picture import sample
from rollcast.models.pipeline.control_link import decode_array, encode_array
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.messages import ModelSpec, Step
from rollcast.models.pipeline.pipeline import Pipeline

from ...server.world_pattern import HEIGHT, WIDTH, WorldPattern
from .running import PATIENT

CHUNKS = 20
REQUEST = StreamRequest(seed=3, image=sample(WIDTH, HEIGHT))


def log(chunks: int) -> list[Controls]:
    rng = np.random.default_rng(1)

    def video(count: int) -> np.ndarray:
        return rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)

    return [
        Controls(
            image=sample(WIDTH, HEIGHT) if k == 7 else None,
            camera=CameraMotion((0.5, 0, 0.25), (0, 30, 0)) if k % 5 == 1 else None,
            video=video(k % 3) if k > 9 else Controls().video,
        )
        for k in range(chunks)
    ]


def through_the_wire(step: Step) -> Step:
    data = msgspec.msgpack.Encoder(enc_hook=encode_array).encode(step)
    return msgspec.msgpack.Decoder(Step, dec_hook=decode_array).decode(data)


def test_a_step_crosses_as_it_is() -> None:
    for controls in log(CHUNKS):
        there = through_the_wire(Step("a", controls, False)).controls
        assert there.image == controls.image and there.camera == controls.camera
        assert there.video.dtype == np.uint8 and np.array_equal(there.video, controls.video)


@pytest.mark.parametrize(
    "video", [np.zeros((1, 2, 2, 3), np.int16), np.zeros((2, 2, 3), np.uint8)], ids=["type", "axes"]
)
def test_what_is_no_video_does_not_cross(video: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        Step("a", Controls(video=video), False)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    folder = Path(__file__).parents[2] / "server"
    monkeypatch.setenv("PYTHONPATH", str(folder))
    made = Pipeline(ModelSpec("world_pattern:WorldPattern", preload=()), patience=PATIENT)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.processes
def test_a_lost_process_is_replaced_and_the_picture_goes_on_bit_for_bit(pipeline: Pipeline) -> None:
    model = WorldPattern()
    state = model.start(REQUEST)
    wanted = [model.step(state, controls) for controls in log(CHUNKS)]
    pipeline.open("a", REQUEST)
    done: list[Finished] = []
    for k, controls in enumerate(log(CHUNKS)):
        done += make_chunk(pipeline, "a", controls)
        if k in (12, 18):
            done += make_rest(pipeline)
            os.kill(pipeline.pids[0], signal.SIGKILL)
    done += make_rest(pipeline)
    assert [each.chunk.index for each in done] == list(range(CHUNKS))
    for each, chunk in zip(done, wanted, strict=True):
        assert np.array_equal(each.chunk.frames, chunk.frames), chunk.index


def test_a_snapshot_goes_on_as_if_it_had_never_stopped() -> None:
    model = WorldPattern()
    state = model.start(REQUEST)
    told = log(CHUNKS)
    for controls in told[:12]:
        model.step(state, controls)
    again = model.restore(model.snapshot(state))
    for controls in told[12:]:
        frames = model.step(state, controls).frames
        assert np.array_equal(model.step(again, controls).frames, frames)
