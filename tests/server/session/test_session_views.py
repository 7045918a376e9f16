"""An image to start from, the camera and the client's video, as the session hands them on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcast.models.contract import CameraInput, CameraMotion, ModelInputs, StreamRequest
from rollcast.server.protocol.client_messages import CameraChange, Reset, SessionQuery
from rollcast.server.protocol.errors import InvalidField, NotSupported, RateLimited
from rollcast.server.protocol.server_messages import Applied, SessionInfo, Speech, Stats
from rollcast.server.session.media import VideoFrame
from rollcast.server.session.pending import OwnImage
from rollcast.server.session.video_queue import VideoQueue

from ..world_pattern import EVERYTHING, HEIGHT, WIDTH, WorldPattern
from .session_bench import INFO, Bench

WORLD = WorldPattern().info
HEARING = replace(
    WORLD, inputs=replace(EVERYTHING, speech=INFO.inputs.speech, tracks=INFO.inputs.tracks)
)
KEYS = replace(WORLD, inputs=ModelInputs(camera=CameraInput("wasd")))


def bench_of(info: object = WORLD) -> Bench:
    return Bench(info, request=StreamRequest(seed=1))  # pyright: ignore[reportArgumentType]


def frame(value: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), value, np.uint8)


def move(event_id: str, **motion: tuple[float, float, float]) -> CameraChange:
    return CameraChange.model_validate({"event_id": event_id, **motion})


def test_an_image_starts_the_content_anew_and_is_answered() -> None:
    bench = bench_of(HEARING)
    bench.step()
    bench.speak(np.full(4000, 3000, np.int16))
    bench.say(OwnImage("i", b"jpeg"))
    assert bench.session.queued_audio_ms == 0 and bench.session.has_image
    bench.step()
    bench.drain()
    told = bench.controls[-1]
    assert (told.image, told.clear_tracks, told.reset) == (b"jpeg", None, False)
    (applied,) = bench.messages(Applied)
    assert (applied.event_id, applied.chunk, applied.scene) == ("i", 1, None)
    first = next(each for each in bench.messages(VideoFrame) if each.chunk == 1)
    assert first.discontinuity
    bench.step()
    assert bench.controls[-1].image is None


def test_of_two_images_the_later_counts_and_both_are_answered() -> None:
    bench = bench_of()
    bench.say(OwnImage("a", b"one"))
    bench.say(OwnImage("b", b"two"))
    bench.step()
    bench.drain()
    assert bench.controls[-1].image == b"two"
    assert [each.event_id for each in bench.messages(Applied)] == ["a", "b"]


def test_speech_begins_with_a_first_chunk_behind_an_image() -> None:
    bench = bench_of(replace(HEARING, first_chunk_frames=1))
    bench.step()
    bench.speak(np.zeros(16_000, np.int16))
    bench.say(OwnImage("i", b"jpeg"))
    bench.speak(np.full(16_000, 3000, np.int16))
    bench.step()
    assert len(bench.controls[-1].audio) == HEARING.samples(1)
    assert not bench.messages(Speech)


def test_the_camera_moves_until_told_otherwise() -> None:
    bench = bench_of()
    bench.say(move("c", translation=(0.0, 0.0, 0.25), rotation=(0.0, -12.5, 0.0)))
    bench.step()
    assert bench.controls[-1].camera == CameraMotion((0.0, 0.0, 0.25), (0.0, -12.5, 0.0))
    bench.step()
    assert bench.controls[-1].camera is None, "nothing is told twice"
    bench.say(Reset(event_id="r"))
    bench.step()
    bench.session.detach(bench.now_s)
    bench.session.resume(-1, audio=False, now_s=bench.now_s)
    bench.say(SessionQuery())
    bench.drain()
    (info,) = bench.messages(SessionInfo)
    assert info.camera is not None
    assert (info.camera.translation, info.camera.rotation) == ((0, 0, 0.25), (0, -12.5, 0))
    bench.say(move("s"))
    bench.step()
    assert bench.controls[-1].camera == CameraMotion()


def test_the_camera_waits_for_its_time() -> None:
    bench = bench_of()
    bench.say(CameraChange(event_id="c", rotation=(0.0, 5.0, 0.0), at_us=400_000))
    bench.step()
    bench.step()
    assert bench.controls[-1].camera is None
    bench.step()
    assert bench.controls[-1].camera == CameraMotion(rotation=(0.0, 5.0, 0.0))


@pytest.mark.parametrize(
    ("motion", "field"),
    [
        ({"translation": (0.0, 0.5, 0.0)}, "translation[1]"),
        ({"rotation": (0.0, 0.0, 9.0)}, "rotation[2]"),
    ],
)
def test_a_camera_that_goes_by_keys_has_no_other_moves(
    motion: dict[str, tuple[float, float, float]], field: str
) -> None:
    bench = bench_of(KEYS)
    bench.say(move("fine", translation=(1.0, 0.0, 1.0), rotation=(5.0, 5.0, 0.0)))
    for at_us in (None, 9e6):
        with pytest.raises(InvalidField) as caught:
            bench.say(CameraChange.model_validate({"event_id": "c", "at_us": at_us, **motion}))
        assert (caught.value.field, caught.value.event_id) == (field, "c")


def test_a_model_without_them_refuses_each_by_name() -> None:
    for control in (OwnImage("e", b"jpeg"), move("e")):
        with pytest.raises(NotSupported) as caught:
            Bench().say(control)
        assert f"takes no {control.type}" in caught.value.message


def test_the_model_is_given_the_frames_since_the_chunk_before() -> None:
    bench = bench_of()
    bench.step()
    assert bench.controls[-1].video.shape == (0, 0, 0, 3)
    for value in (1, 2):
        bench.session.receive_frame(frame(value), bench.now_s)
    bench.step()
    assert bench.controls[-1].video[:, 0, 0, 0].tolist() == [1, 2]
    bench.step()
    assert not len(bench.controls[-1].video)


def test_the_newest_frames_are_kept_and_the_others_counted() -> None:
    bench = bench_of()
    for value in range(10):
        bench.session.receive_frame(frame(value), bench.now_s)
    bench.step()
    assert bench.controls[-1].video[:, 0, 0, 0].tolist() == list(range(2, 10))
    bench.now_s += 1.1
    bench.session.tick(bench.now_s, 1)
    bench.drain()
    stats = bench.messages(Stats)[-1]
    assert (stats.video_frames, stats.video_dropped) == (8, 2)


def test_without_video_there_are_no_figures_of_it() -> None:
    bench = Bench()
    bench.now_s += 1.1
    bench.session.tick(bench.now_s, 1)
    bench.drain()
    assert bench.messages(Stats)[-1].video_frames is None


def test_frames_of_a_lost_connection_are_not_shown_to_the_next() -> None:
    bench = bench_of()
    bench.session.receive_frame(frame(9), bench.now_s)
    bench.session.detach(bench.now_s)
    bench.session.resume(-1, audio=False, now_s=bench.now_s)
    bench.step()
    assert not len(bench.controls[-1].video) and bench.session.video_in.dropped == 1


@pytest.mark.parametrize(
    ("fps", "chunk_frames", "first", "kept"),
    [(16, 12, 9, 12), (16, 4, 13, 13), (8, 12, None, 6), (24, 4, None, 6), (10, 4, None, 3)],
)
def test_as_many_frames_are_kept_as_two_of_the_longest_chunks_last(
    fps: int, chunk_frames: int, first: int | None, kept: int
) -> None:
    assert EVERYTHING.video is not None
    info = replace(
        WORLD,
        chunk_frames=chunk_frames,
        first_chunk_frames=first,
        inputs=replace(EVERYTHING, video=replace(EVERYTHING.video, fps=fps)),
    )
    queue = VideoQueue(info)
    for _ in range(5 * kept):
        queue.push(frame(0))
    assert len(queue.take()) == 2 * kept


def test_a_sender_of_frames_is_there_and_watching() -> None:
    bench = bench_of()
    bench.now_s += 50.0
    bench.session.receive_frame(frame(0), bench.now_s)
    assert bench.session.unwatched_s(bench.now_s) == 0
    bench.now_s += 50.0
    bench.session.tick(bench.now_s, 1)
    assert bench.session.failure is None


def test_too_many_of_them_are_refused() -> None:
    bench = bench_of()
    for number in range(256):
        bench.say(move(str(number)))
    with pytest.raises(RateLimited):
        bench.say(move("late"))
