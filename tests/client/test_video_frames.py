"""Video files as the frames of a model's input: its size, its rate, from the beginning."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rollcast.client.video_frames import video_frames


def write(path: Path, count: int, fps: int, size: tuple[int, int] = (320, 240)) -> None:
    """Frames whose grey says which they are, 4 more each; green at the left and right edge."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(count):
            image = np.full((size[1], size[0], 3), 40 + 4 * number, np.uint8)
            image[:, :40] = image[:, -40:] = (0, 255, 0)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def numbers(path: Path, fps: int, width: int = 120, height: int = 120) -> list[int]:
    frames = list(video_frames(path, width=width, height=height, fps=fps))
    assert all(frame.shape == (height, width, 3) and frame.dtype == np.uint8 for frame in frames)
    return [round((float(frame[50:70, 50:70].mean()) - 40) / 4) for frame in frames]


@pytest.mark.parametrize(
    ("fps", "wanted"),
    [
        (20, list(range(20))),
        (10, list(range(0, 20, 2))),
        (40, [number for number in range(20) for _ in range(2)]),
    ],
)
def test_frames_come_at_the_rate_that_is_wanted(
    tmp_path: Path, fps: int, wanted: list[int]
) -> None:
    write(tmp_path / "a.mp4", 20, 20)
    found = numbers(tmp_path / "a.mp4", fps)
    assert len(found) == len(wanted)
    assert all(abs(a - b) <= 1 for a, b in zip(found, wanted, strict=True)), found


def test_the_middle_is_cut_out_in_the_shape_that_is_wanted(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 3, 10)
    frame = next(video_frames(tmp_path / "a.mp4", width=100, height=100, fps=10))
    assert np.abs(frame[50, 2].astype(int) - 40).max() < 12, "the green edges are gone"


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"hello" * 100)
    with pytest.raises(ValueError, match="no video that can be read"):
        numbers(tmp_path / "a.mp4", 10)
    with pytest.raises(FileNotFoundError, match="no such video"):
        numbers(tmp_path / "b.mp4", 10)
