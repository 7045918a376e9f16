"""Distances of sets of points: known values, and zero for one and the same."""

import pytest
import torch

from training.toy_world.metrics.distances import (
    amplitude_and_phase,
    discrepancy,
    fixed_frequencies,
    learned_frequencies,
    sliced_wasserstein,
)


def _normal(count: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_a_set_is_at_no_distance_from_itself() -> None:
    x = _normal(60, 6, 0)
    for distance in (sliced_wasserstein, fixed_frequencies, learned_frequencies):
        assert distance(x, x) == 0


def test_sliced_wasserstein_of_a_shift_is_its_length_over_the_root_of_the_width() -> None:
    x = _normal(300, 16, 1)
    shift = torch.zeros(16)
    shift[3] = 2.0
    # E <d, shift>^2 over directions d is |shift|^2 / D
    assert sliced_wasserstein(x, x + shift) == pytest.approx(2 / 4, rel=0.1)


def test_characteristic_functions_of_two_points() -> None:
    """At 0 and at 1, frequency t: |1 - exp(it)|^2 = 2 - 2 cos t."""
    t = torch.tensor([[0.7], [2.0]])
    expected = (2 - 2 * torch.cos(t)).mean()
    found = discrepancy(torch.zeros(1, 1), torch.ones(1, 1), t)
    torch.testing.assert_close(found, expected)


def test_amplitude_and_phase_add_up_to_the_distance() -> None:
    """NCFM's loss at equal weights is the mean of |p - q| / sqrt 2."""
    one, other, t = _normal(50, 3, 2), 0.5 + 2 * _normal(60, 3, 3), _normal(20, 3, 4)
    each = torch.stack([discrepancy(one, other, row[None]) for row in t])
    expected = (each / 2).sqrt().mean()
    torch.testing.assert_close(amplitude_and_phase(one, other, t), expected, rtol=1e-3, atol=1e-5)


def test_learned_frequencies_find_a_difference_that_fixed_ones_drown() -> None:
    """Two modes instead of one in a single direction of many."""
    one, other = _normal(2000, 24, 5), _normal(2000, 24, 6)
    same = _normal(2000, 24, 7)
    other = other.clone()
    other[:, 0] = 0.3 * other[:, 0] + torch.sign(other[:, 0]) * 0.95
    found, floor = learned_frequencies(one, other), learned_frequencies(one, same)
    assert found > 2 * floor
    assert found / floor > fixed_frequencies(one, other) / fixed_frequencies(one, same)
