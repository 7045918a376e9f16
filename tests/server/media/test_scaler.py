"""Frames are made smaller without moving or changing what they show."""

import numpy as np

from rollcast.models.yuv_frames import YuvFrame
from rollcast.server.media.scaler import Scaler


def test_a_frame_of_the_size_that_is_wanted_passes() -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    assert Scaler(64, 48).scaled(frame) is frame


def test_areas_keep_their_colours_and_places() -> None:
    frame = np.zeros((128, 128, 3), np.uint8)
    frame[:64, :64] = (200, 30, 30)
    frame[64:, 64:] = (30, 30, 200)
    small = Scaler(32, 32).scaled(frame)
    assert isinstance(small, np.ndarray)
    assert small.shape == (32, 32, 3) and small.dtype == np.uint8
    assert np.abs(small[:14, :14].astype(int) - (200, 30, 30)).max() <= 3
    assert np.abs(small[18:, 18:].astype(int) - (30, 30, 200)).max() <= 3
    assert small[18:, :14].max() <= 3


def test_planes_are_scaled_as_planes_to_odd_sizes_too() -> None:
    luma = np.full((64, 64), 60, np.uint8)
    luma[:, 32:] = 200
    frame = YuvFrame(np.concatenate([luma, np.full((32, 64), 90, np.uint8)]), 63, 64)
    assert Scaler(64, 63).scaled(frame) is frame
    small = Scaler(17, 15).scaled(frame)
    assert isinstance(small, YuvFrame) and (small.width, small.height) == (17, 15)
    scaled, blue, red = small.parts()
    assert scaled.shape == (16, 18) and (blue == 90).all() and (red == 90).all()
    assert (scaled[:, :8] == 60).all() and (scaled[:, 11:] == 200).all()
