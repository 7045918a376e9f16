"""What the MP4 writer writes can be read back: every frame, its colour, sound in its place."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rollcast.client.audio_file import load_speech
from rollcast.client.mp4 import Mp4Writer
from rollcast.client.output_file import OutputError, OutputFile

RATE = 16_000


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


def write(path: Path, frames: int, width: int = 64, height: int = 48) -> None:
    image = np.empty((height, width, 3), np.uint8)
    image[:] = (200, 60, 30)
    with (
        OutputFile(path) as file,
        Mp4Writer(file, width=width, height=height, fps=25) as writer,
    ):
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


@pytest.mark.parametrize("rate", [9_000, 22_050, 24_000, 48_000])
def test_sound_of_any_rate_is_as_long_as_it_was(tmp_path: Path, rate: int) -> None:
    """Also where frames do not last whole samples, and where AAC has no such rate."""
    with (
        OutputFile(tmp_path / "a.mp4") as file,
        Mp4Writer(file, width=64, height=48, fps=16, sample_rate=rate) as writer,
    ):
        sound = tone(2.0, rate)
        for number in range(32):
            begin, end = number * rate // 16, (number + 1) * rate // 16
            writer.write_frame(np.zeros((48, 64, 3), np.uint8), number * 62_500)
            writer.write_audio(sound[begin:end], number * 62_500)
    heard = load_speech(tmp_path / "a.mp4", rate=rate)
    assert len(heard) == pytest.approx(len(sound), abs=rate * 0.05)
    middle = slice(rate // 2, rate)
    assert np.abs(heard[middle].astype(int)).max() == pytest.approx(np.abs(sound).max(), rel=0.1)


def test_odd_sizes_lose_a_row_not_the_recording(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 3, width=65, height=49)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (64, 48)


@pytest.mark.parametrize("size", [(64, 48), (65, 49)], ids=["even", "odd"])
def test_planes_are_written_as_they_are(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size[0] + size[0] % 2, size[1] + size[1] % 2
    parts = (
        np.full((height, width), 120, np.uint8),
        np.full((height // 2, width // 2), 90, np.uint8),
        np.full((height // 2, width // 2), 200, np.uint8),
    )
    with (
        OutputFile(tmp_path / "a.mp4") as file,
        Mp4Writer(file, width=size[0], height=size[1], fps=25) as writer,
    ):
        for index in range(3):
            writer.write_planes(parts, index * 40_000)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    assert len(frames) == 3 and frames[2].shape == (72, 64)
    for plane, level in zip(np.split(frames[2], (48, 60)), (120, 90, 200), strict=True):
        assert np.abs(plane.astype(int) - level).max() <= 2


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def write_noise(writer: Mp4Writer, frames: int) -> None:
    """Frames that are worth some kilobytes each, and sound."""
    noise = np.random.default_rng(0)
    for index in range(frames):
        writer.write_audio(noise.integers(-9000, 9000, 640).astype(np.int16), index * 40_000)
        image = noise.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        writer.write_frame(image, index * 40_000)


def test_a_recording_that_ends_early_keeps_what_came(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        OutputFile(tmp_path / "a.mp4") as file,
        Mp4Writer(file, width=96, height=96, fps=25) as writer,
    ):
        write_noise(writer, 30)
        raise RuntimeError
    assert frames_of(tmp_path / "a.mp4") == 30
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_recording_without_a_frame_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        OutputFile(tmp_path / "a.mp4") as file,
        Mp4Writer(file, width=96, height=96, fps=25) as writer,
    ):
        writer.write_audio(tone(0.2), 0)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from tests.client.test_mp4 import Mp4Writer, OutputFile, write_noise
file = OutputFile(Path(sys.argv[1]))
write_noise(Mp4Writer(file, width=96, height=96, fps=25), 100)
os.kill(os.getpid(), 9)
"""


@pytest.mark.processes
def test_a_process_that_is_killed_leaves_a_file_that_plays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a.mp4")]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    assert ended.returncode == -9
    assert frames_of(tmp_path / "a.mp4") >= 74
    assert 3 <= len(load_speech(tmp_path / "a.mp4")) / RATE <= 4


class FullDisk(OutputFile):
    """A file on a disk that takes so many bytes."""

    def __init__(self, path: Path, room: int) -> None:
        super().__init__(path)
        self._file = LimitedFile(self._file, room)


class LimitedFile:
    def __init__(self, file: Any, room: int) -> None:
        self._file = file
        self._room = room

    def write(self, data: memoryview) -> int:
        taken = min(len(data), self._room)
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= taken
        return self._file.write(data[:taken])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_full_disk_is_named_and_what_went_onto_it_plays(tmp_path: Path) -> None:
    with OutputFile(tmp_path / "whole.mp4") as file:
        with Mp4Writer(file, width=96, height=96, fps=25) as writer:
            write_noise(writer, 75)
        size = file.seek(0, os.SEEK_END)
    # in the second fragment, in the third, in the index at the end
    for room, frames in ((size // 2, 20), (size - 10_000, 45), (size - 100, 75)):
        path = tmp_path / f"{room}.mp4"
        with (
            pytest.raises(OutputError, match=r"cannot write .*\.mp4: No space left"),
            FullDisk(path, room) as file,
            Mp4Writer(file, width=96, height=96, fps=25) as writer,
        ):
            write_noise(writer, 75)
        assert frames_of(path) >= frames
        assert writer.seconds == pytest.approx(frames_of(path) / 25, abs=0.05)


def test_a_stream_without_sound_gives_a_file_without_a_track_for_it(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    with (
        OutputFile(tmp_path / "a.mp4") as file,
        Mp4Writer(file, width=64, height=48, fps=16, sample_rate=None) as writer,
    ):
        writer.write_frame(image, 0)
        writer.write_audio(np.zeros(0, np.int16), 0)
        with pytest.raises(ValueError, match="without a sample_rate"):
            writer.write_audio(tone(0.1), 0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
