"""Averaging of flow over cells."""

import numpy as np

from training.data.flow_cells import average_cells


def test_constant_flow_stays_and_unknown_samples_do_not_count() -> None:
    flow = np.full((32, 32, 2), 3.0, np.float32)
    state = np.ones((32, 32), np.uint8)
    state[:4], flow[:4] = 0, 99.0
    mean, known = average_cells(flow, state, 4, background_weight=1.0)
    assert np.allclose(mean, 3.0)
    assert known.all()


def test_unknown_cells_take_their_neighbours_flow() -> None:
    flow = np.full((32, 32, 2), 2.0, np.float32)
    state = np.ones((32, 32), np.uint8)
    state[8:16, 8:16], flow[8:16, 8:16] = 0, -50.0
    mean, known = average_cells(flow, state, 4, background_weight=1.0)
    assert np.allclose(mean, 2.0)
    assert not known[1, 1] and known.sum() == 15


def test_background_pulls_towards_zero_by_its_weight() -> None:
    flow = np.zeros((8, 8, 2), np.float32)
    state = np.full((8, 8), 2, np.uint8)
    flow[:, 4:], state[:, 4:] = 6.0, 1
    mean, _ = average_cells(flow, state, 1, background_weight=0.5)
    assert np.allclose(mean, 4.0)


def test_nothing_known_gives_zero() -> None:
    flow = np.ones((8, 8, 2), np.float32)
    mean, known = average_cells(flow, np.zeros((8, 8), np.uint8), 2, background_weight=1.0)
    assert not mean.any() and not known.any()
