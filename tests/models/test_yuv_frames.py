"""Frames as planes: their shapes, waiting for them, and as RGB again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rollcast.kernels.yuv420.yuv420_torch import yuv420_torch
from rollcast.models.contract import Chunk
from rollcast.models.download import downloaded
from rollcast.models.yuv_frames import YuvFrame, YuvFrames


def planes(levels: np.ndarray) -> np.ndarray:
    """Of uint8 RGB [T, H, W, 3]."""
    return yuv420_torch(torch.from_numpy(levels).permute(0, 3, 1, 2) / 127.5 - 1).numpy()


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 1)])
def test_as_rgb_they_show_what_they_were_made_of(size: tuple[int, int]) -> None:
    """Within three levels: a step of chroma is one of blue times 1.8, and both are rounded."""
    height, width = size
    levels = np.empty((3, height, width, 3), np.uint8)
    levels[0], levels[1], levels[2] = (200, 40, 90), (3, 250, 128), (255, 255, 255)
    frames = YuvFrames(planes(levels), 3, height, width)
    assert len(frames) == len(list(frames)) == 3 and frames.rgb().shape == levels.shape
    assert np.abs(frames.rgb().astype(int) - levels).max() <= 3
    chunk = Chunk(0, frames, np.zeros(0, np.int16))
    assert np.array_equal(chunk.frames, frames.rgb())


def test_the_parts_of_a_frame_are_its_planes() -> None:
    frame = YuvFrame(np.arange(6 * 6, dtype=np.uint8).reshape(6, 6), 3, 5)
    luma, blue, red = frame.parts()
    assert luma.shape == (4, 6) and np.array_equal(luma, frame.planes[:4])
    assert blue.ravel().tolist() == list(range(24, 30))
    assert red.ravel().tolist() == list(range(30, 36))


def test_planes_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(6, 6\)"):
        YuvFrame(np.zeros((6, 4), np.uint8), 4, 6)
    with pytest.raises(ValueError, match="expected"):
        _ = YuvFrames(np.zeros((2, 6, 6), np.uint8), 3, 4, 6).planes


class Late:
    """Bytes that come when they are waited for."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.waits = data, 0
        self.ready = False

    def wait(self) -> np.ndarray:
        self.waits += 1
        return self.data


def test_they_are_waited_for_when_they_are_looked_at_and_only_then() -> None:
    late = Late(np.ones((2, 6, 6), np.uint8))
    frames = YuvFrames(late, 2, 4, 6)
    assert len(frames) == 2 and not frames.ready and not late.waits
    assert frames[1].planes.all() and frames.planes.all() and frames.ready
    assert late.waits == 1


def test_on_the_cpu_what_was_made_is_there() -> None:
    made = torch.arange(6, dtype=torch.uint8)
    coming = downloaded(made)
    assert coming.ready and np.shares_memory(coming.wait(), made.numpy())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_from_a_gpu_nobody_waits_until_the_bytes_are_wanted() -> None:
    made = torch.arange(1 << 20, device="cuda").to(torch.uint8)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        coming = downloaded(made)
        del made
        other = torch.zeros(1 << 20, device="cuda", dtype=torch.uint8)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert np.array_equal(coming.wait(), (np.arange(1 << 20) % 256).astype(np.uint8))
    assert not other.any()
