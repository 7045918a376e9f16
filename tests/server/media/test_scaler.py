"""Frames are made smaller without moving or changing what they show."""

import numpy as np

from rollcast.server.media.scaler import Scaler


def test_a_frame_of_the_size_that_is_wanted_passes() -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    assert Scaler(64, 48).scaled(frame) is frame


def test_areas_keep_their_colours_and_places() -> None:
    frame = np.zeros((128, 128, 3), np.uint8)
    frame[:64, :64] = (200, 30, 30)
    frame[64:, 64:] = (30, 30, 200)
    small = Scaler(32, 32).scaled(frame)
    assert small.shape == (32, 32, 3) and small.dtype == np.uint8
    assert np.abs(small[:14, :14].astype(int) - (200, 30, 30)).max() <= 3
    assert np.abs(small[18:, 18:].astype(int) - (30, 30, 200)).max() <= 3
    assert small[18:, :14].max() <= 3
