"""Which frames of a live video are redrawn, and under what noise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rollcast.models.wan.video_frames import noise_share, spread, told_timestep


@given(came=st.integers(1, 200), count=st.integers(1, 9))
def test_frames_are_spread_evenly_up_to_the_newest(came: int, count: int) -> None:
    taken = spread(np.arange(came), count)
    assert len(taken) == count and taken[-1] == came - 1
    steps = np.diff(taken)
    assert (steps >= 0).all() and (count == 1 or steps.max() - steps.min() <= 1)
    if came == count:
        assert (taken == np.arange(came)).all()


def test_half_the_rate_shows_every_frame_twice_and_double_every_other() -> None:
    assert spread(np.arange(2), 4).tolist() == [0, 0, 1, 1]
    assert spread(torch.arange(8), 4).tolist() == [1, 3, 5, 7]
    assert spread(np.arange(1), 5).tolist() == [0] * 5


def published(frames: np.ndarray, before: float, base: float) -> float:
    """The published rule in float64, frame by frame."""
    motions = [np.sqrt(np.mean((new - old) ** 2)) for old, new in pairwise(frames)]
    motion = min(max(max(motions) / 0.2, 0.0), 1.0)
    return 0.9 * (base - 0.1 * motion) + 0.1 * before


@given(
    seed=st.integers(0, 2**16),
    spread_of_values=st.sampled_from((0.0, 0.01, 0.05, 0.2, 1.0)),
    before=st.floats(0.5, 0.9),
    base=st.floats(0.5, 0.9),
)
def test_noise_follows_the_fastest_frame(
    seed: int, spread_of_values: float, before: float, base: float
) -> None:
    frames = np.random.default_rng(seed).normal(0, spread_of_values, (5, 6, 8, 3))
    made = noise_share(torch.from_numpy(frames), before, base)
    # frames are rounded to float32
    assert made == pytest.approx(published(frames, before, base), abs=1e-6)


def test_a_picture_that_stands_still_keeps_its_noise() -> None:
    still, share = torch.zeros(5, 4, 4, 3), 0.8
    for _ in range(1000):
        share = noise_share(still, share, 0.8)
    assert share == pytest.approx(0.8)
    assert told_timestep(0.8) == 700.0


def test_flicker_takes_at_most_a_tenth() -> None:
    flicker, share = torch.tensor([-1.0, 1.0] * 3).view(6, 1, 1, 1).expand(6, 4, 4, 3), 0.8
    for _ in range(100):
        share = noise_share(flicker, share, 0.8)
    assert share == pytest.approx(0.7)
    assert told_timestep(share) in (599.0, 600.0)
