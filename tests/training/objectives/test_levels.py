"""Noise levels: what is raised in two goes is as if in one, and steps lead where they should."""

import pytest
import torch

from training.objectives.levels import noised, raised, raising, shifted, stepped


@pytest.mark.parametrize("low", [0.0, 0.3, 0.625])
def test_raising_keeps_the_law_of_noisy_clips(low: float) -> None:
    """alpha (1 - low) is the signal at sigma, alpha^2 low^2 + beta^2 the noise."""
    sigma = torch.linspace(low + 0.01, 0.99, 7)
    alpha, beta = raising(low, sigma)
    torch.testing.assert_close(alpha * (1 - low), 1 - sigma)
    torch.testing.assert_close(alpha**2 * low**2 + beta**2, sigma**2)


def test_raised_from_clean_is_noised() -> None:
    x, noise, sigma = torch.randn(3, 2, 2), torch.randn(3, 2, 2), torch.rand(3)
    torch.testing.assert_close(raised(x, 0.0, sigma, noise), noised(x, sigma, noise))


def test_a_deterministic_step_keeps_its_noise_and_ends_at_the_sample() -> None:
    sample, noise = torch.randn(2, 2, 4), torch.randn(2, 2, 4)
    noisy = noised(sample, 0.8, noise)
    torch.testing.assert_close(
        stepped(noisy, sample, 0.8, 0.3, deterministic=True), noised(sample, 0.3, noise)
    )
    assert torch.equal(stepped(noisy, sample, 0.8, 0.0, deterministic=True), sample)
    fresh = stepped(noisy, sample, 0.8, 0.3, deterministic=False)
    assert not torch.allclose(fresh, noised(sample, 0.3, noise))


def test_shift_moves_levels_up_and_keeps_the_ends() -> None:
    levels = shifted(torch.tensor([0.0, 0.5, 1.0]), 3.0)
    torch.testing.assert_close(levels, torch.tensor([0.0, 0.75, 1.0]))
