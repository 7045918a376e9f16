"""How large, how often and how good the pictures are that a client wants."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from rollcast.server.protocol.client_messages import SessionCreate, SessionQuery, VideoChange
from rollcast.server.protocol.server_messages import Applied, SessionInfo
from rollcast.server.session.link import default_kbps
from rollcast.server.session.video_limits import VideoLimits

from .session_bench import INFO, Bench

WIDE = replace(INFO, width=1280, height=720)


@pytest.mark.parametrize(
    ("bounds", "size"),
    [
        ({}, (1280, 720)),
        ({"max_width": 4000, "max_height": 4000}, (1280, 720)),
        ({"max_width": 640}, (640, 360)),
        ({"max_height": 180}, (320, 180)),
        ({"max_width": 640, "max_height": 90}, (160, 90)),
        ({"max_width": 333}, (332, 186)),
        ({"max_height": 16}, (28, 16)),
    ],
)
def test_pictures_keep_their_proportion(bounds: dict[str, int], size: tuple[int, int]) -> None:
    assert VideoLimits(**bounds).size(WIDE) == size


@pytest.mark.parametrize("max_fps", [1, 5, 12, 24, 25, 240])
def test_frames_are_left_out_evenly(max_fps: int) -> None:
    limits = VideoLimits(max_fps=max_fps)
    shown = [seq for seq in range(250) if limits.shows(seq, INFO)]
    assert shown[0] == 0
    assert len(shown) == 10 * min(25, max_fps)
    gaps = {b - a for a, b in pairwise(shown)}
    assert max(gaps) - min(gaps) <= 1


def test_a_bound_that_is_not_named_stays() -> None:
    limits = VideoLimits().changed(SessionCreate(max_width=64, max_kbps=100))
    limits = limits.changed(VideoChange(event_id="v", max_fps=5))
    assert limits == VideoLimits(max_width=64, max_kbps=100, max_fps=5)


def test_the_bitrate_is_what_the_size_needs_at_most() -> None:
    assert VideoLimits(max_width=64).kbps(INFO, 50_000) == default_kbps(64, 64, 25)
    assert VideoLimits(max_kbps=40).kbps(INFO, 50_000) == 40
    assert VideoLimits(max_kbps=400).kbps(INFO, 300) == 300


def change(bench: Bench, **bounds: int) -> Applied:
    bench.say(VideoChange(event_id="v", **bounds))  # pyright: ignore[reportArgumentType]
    bench.drain()
    return bench.messages(Applied)[-1]


def test_another_bitrate_holds_at_once() -> None:
    bench = Bench()
    change(bench, max_kbps=100)
    assert bench.session.target_kbps == 100
    change(bench, max_kbps=50_000)
    assert bench.session.target_kbps == default_kbps(128, 128, 25)


def test_the_answer_names_the_next_frame() -> None:
    bench = Bench()
    answer = change(bench, max_width=64)
    assert (answer.chunk, answer.pts_us) == (0, 0)
    bench.step()
    bench.session.next_output(bench.now_s)
    bench.session.next_output(bench.now_s)
    bench.session.next_output(bench.now_s)
    answer = change(bench, max_width=32)
    assert (answer.chunk, answer.pts_us) == (0, 80_000)
    assert bench.session.size == (32, 32)
    bench.session.begin_step(bench.now_s)
    answer = change(bench, max_width=64)
    assert (answer.chunk, answer.pts_us) == (1, 160_000), "a chunk under way obeys as well"


@pytest.mark.parametrize("max_fps", [1, 5, 12])
def test_a_viewer_of_few_frames_is_served_in_real_time(max_fps: int) -> None:
    bench = Bench()
    change(bench, max_fps=max_fps)
    bench.run(6)
    seqs = [seq for seq in bench.seqs if seq < 150]
    assert (
        seqs
        == [seq for seq in range(150) if VideoLimits(max_fps=max_fps).shows(seq, INFO)][: len(seqs)]
    )
    assert len(seqs) >= 4.5 * max_fps
    assert bench.session.skipped_frames == 0


def test_the_bounds_outlive_a_connection() -> None:
    bench = Bench()
    change(bench, max_kbps=100, max_width=64, max_fps=5)
    bench.session.detach(bench.now_s)
    bench.session.resume(-1, audio=True, now_s=bench.now_s)
    bench.say(SessionQuery())
    bench.drain()
    (info,) = bench.messages(SessionInfo)
    assert (info.width, info.height, info.max_fps, info.max_kbps) == (64, 64, 5, 100)
    assert bench.session.target_kbps == 100
