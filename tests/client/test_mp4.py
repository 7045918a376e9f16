"""What the MP4 writer writes can be read back: every frame, its colour, sound in its place."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from rollcast.client.audio_file import load_speech
from rollcast.client.mp4 import Mp4Writer

RATE = 16_000


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


def write(path: Path, frames: int, width: int = 64, height: int = 48) -> None:
    image = np.empty((height, width, 3), np.uint8)
    image[:] = (200, 60, 30)
    with Mp4Writer(path, width=width, height=height, fps=25) as writer:
        for index in range(frames):
            writer.write_frame(image, index * 40_000)
        writer.write_audio(tone(0.4), 400_000)


def test_mp4_has_every_frame_its_colour_and_its_times(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 25)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [round(f.time, 3) for f in frames] == [round(i * 0.04, 3) for i in range(25)]
    middle = frames[10].to_ndarray(format="rgb24")[20, 20].astype(int)
    assert np.abs(middle - (200, 60, 30)).max() <= 5
    assert (int(frames[0].colorspace), int(frames[0].color_range)) == (5, 1)


def test_mp4_audio_stands_where_it_was_put(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 25)
    heard = np.abs(load_speech(tmp_path / "a.mp4").astype(int))
    assert heard[: round(0.36 * RATE)].max() < 500
    assert heard[round(0.45 * RATE) : round(0.75 * RATE)].max() > 6000


def test_odd_sizes_lose_a_row_not_the_recording(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 3, width=65, height=49)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (64, 48)


def test_a_failed_recording_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        Mp4Writer(tmp_path / "a.mp4", width=64, height=48, fps=25) as writer,
    ):
        writer.write_frame(np.zeros((48, 64, 3), np.uint8), 0)
        assert list(tmp_path.iterdir())
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_stream_without_sound_gives_a_file_without_a_track_for_it(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    with Mp4Writer(tmp_path / "a.mp4", width=64, height=48, fps=16, sample_rate=None) as writer:
        writer.write_frame(image, 0)
        writer.write_audio(np.zeros(0, np.int16), 0)
        with pytest.raises(ValueError, match="without a sample_rate"):
            writer.write_audio(tone(0.1), 0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
