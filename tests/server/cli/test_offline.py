"""A script without a server: how long it takes, and which chunk is told what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcast.client.track_file import TimedPoint, TimedPrompt, TrackScript
from rollcast.models.contract import CameraMotion, Chunk, Controls, StreamRequest, TrackEvent
from rollcast.models.test_pattern import CHUNK_SAMPLES, TestPattern, TestPatternState
from rollcast.server.cli.offline import check_inputs, frame_count, generate

from ..world_pattern import HEIGHT, WIDTH, WorldPattern

INFO = TestPattern().info
SPEECH = np.arange(6000, dtype=np.int16)
SCRIPT = TrackScript(
    points=[TimedPoint(t_ms=320, id=3, phase="down", x=0.25, y=0.5)],
    prompts=[TimedPrompt(t_ms=170, text="a blue wall", transition_chunks=3)],
)


class Told(TestPattern):
    """Keeps what it was told; its chunks have as many frames as `counts` says, then four."""

    def __init__(self, counts: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.counts = list(counts)
        self.told: list[Controls] = []

    def step(self, state: TestPatternState, controls: Controls) -> Chunk:
        self.told.append(controls)
        chunk = super().step(state, controls)
        return replace(chunk, pictures=chunk.frames[: self.counts.pop(0) if self.counts else 4])


def run(model: Told, frames: int) -> list[Chunk]:
    return list(generate(model, model.start(StreamRequest()), frames, SPEECH, SCRIPT))


@pytest.mark.parametrize(
    ("seconds", "samples", "frames"),
    [(None, 0, 250), (None, 16_000, 42), (0.16, 0, 4), (0.17, 0, 5), (3.2, 16_000, 80)],
)
def test_length(seconds: float | None, samples: int, frames: int) -> None:
    assert frame_count(INFO, seconds, np.zeros(samples, np.int16)) == frames


def test_each_chunk_is_told_what_falls_into_it() -> None:
    model = Told()
    assert [chunk.index for chunk in run(model, 9)] == [0, 1, 2]
    first, second, third = model.told
    assert np.array_equal(np.concatenate([first.audio, second.audio, third.audio]), SPEECH)
    assert len(first.audio) == CHUNK_SAMPLES
    assert (first.prompt, first.tracks) == (None, ())
    assert (second.prompt, second.transition_chunks) == ("a blue wall", 3)
    assert third.prompt is None
    assert third.tracks == (TrackEvent(3, "down", 0.25, 0.5),)


def test_shorter_chunks_are_told_everything_once_and_at_its_time() -> None:
    model = Told((1, 3, 4))
    chunks = run(model, 9)
    assert [len(chunk.frames) for chunk in chunks] == [1, 3, 4, 4]
    assert [len(told.audio) for told in model.told] == [2560, 640, 1920, 880]
    assert [told.prompt for told in model.told] == [None, "a blue wall", None, None]
    assert [len(told.tracks) for told in model.told] == [0, 0, 0, 1]


def test_what_the_model_does_not_take_is_said_before_anything_is_made() -> None:
    check_inputs("pattern", INFO.inputs.names, SPEECH, SCRIPT)
    check_inputs("bare", {"seed"}, SPEECH[:0], TrackScript())
    with pytest.raises(ValueError, match="bare takes no speech, only seed"):
        check_inputs("bare", {"seed"}, SPEECH, TrackScript())
    with pytest.raises(ValueError, match="bare takes no tracks"):
        check_inputs("bare", {"seed"}, SPEECH[:0], SCRIPT)
    with pytest.raises(ValueError, match="bare takes no tracks, nor anything else"):
        check_inputs("bare", (), SPEECH[:0], SCRIPT)
    with pytest.raises(ValueError, match="bare takes no camera, only seed"):
        check_inputs("bare", {"seed"}, SPEECH[:0], TrackScript(), image=None, camera="yaw=5")


def test_each_chunk_looks_at_the_video_that_plays_meanwhile() -> None:
    told: list[Controls] = []

    class Watching(WorldPattern):
        def step(self, state: object, controls: Controls) -> Chunk:
            told.append(controls)
            return super().step(state, controls)

    model, motion = Watching(fps=20), CameraMotion((0.0, 0.0, 0.5))
    video = (np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in range(8))
    state = model.start(StreamRequest())
    list(generate(model, state, 16, SPEECH, TrackScript(), camera=motion, video=video))
    # 16 frames a second of it, and chunks of a fifth of a second
    seen = [[int(frame[0, 0, 0]) for frame in controls.video] for controls in told]
    assert seen == [[0, 1, 2], [3, 4, 5], [6, 7], []]
    assert [controls.camera for controls in told] == [motion, None, None, None]
