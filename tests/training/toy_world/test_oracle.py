"""The exact denoiser against sums over drawn clips, and against what defines it."""

import pytest
import torch
from torch import Tensor

from training.toy_world.oracle import Oracle
from training.toy_world.world import Prompt, sample


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


def _drawn_mean(noisy: Tensor, sigma: float, prompt: Prompt, count: int) -> tuple[Tensor, float]:
    """The mean of x0 by importance: drawn clips, weighted by how well they explain `noisy`.

    Also how many clips such weights are worth.
    """
    mood, palette = (each.expand(count) for each in (prompt.mood, prompt.palette))
    clips = sample(Prompt(mood, palette), noisy.shape[1], torch.Generator().manual_seed(6)).latents
    apart = (noisy - (1 - sigma) * clips).double().square().flatten(1).sum(1)
    weight = torch.softmax(-apart / (2 * sigma**2), 0)
    mean = (weight @ clips.flatten(1).double()).view(noisy.shape[1:])
    return mean.float(), float(1 / weight.square().sum())


@pytest.mark.parametrize("told", [True, False])
def test_it_is_the_weighted_mean_of_drawn_clips(oracle: Oracle, told: bool) -> None:
    """Of two chunks, so that odds of moves count; at a noise where many clips are likely."""
    generator = torch.Generator().manual_seed(7)
    truth = sample(Prompt(torch.tensor([2]), torch.tensor([1])), 2, generator)
    sigma = 0.92
    noise = torch.randn(truth.latents.shape, generator=generator)
    noisy = (1 - sigma) * truth.latents + sigma * noise
    prompt = truth.prompt if told else truth.prompt.emptied()
    expected, worth = _drawn_mean(noisy, sigma, prompt, 4000)
    made = oracle(noisy, torch.tensor([sigma]), prompt)[0]
    assert worth > 50
    # what is drawn strays by the spread of clips over the root of their worth
    spread = float((truth.latents[0] - expected).square().mean())
    assert float((made - expected).square().mean()) < 3 * spread / worth
    other = truth.prompt if not told else Prompt(torch.tensor([0]), torch.tensor([0]))
    wrong = oracle(noisy, torch.tensor([sigma]), other)[0]
    assert float((wrong - expected).square().mean()) > 2 * float((made - expected).square().mean())


@pytest.mark.parametrize("sigma", [0.3, 0.7, 0.85])
def test_nothing_is_left_to_correct(oracle: Oracle, sigma: float) -> None:
    """A mean has no correlation with its own error: <x0, mean> = <mean, mean> on average."""
    generator = torch.Generator().manual_seed(8)
    truth = sample(Prompt.each(96), 4, generator)
    noise = torch.randn(truth.latents.shape, generator=generator)
    noisy = (1 - sigma) * truth.latents + sigma * noise
    mean = oracle(noisy, torch.full((96,), sigma), truth.prompt)
    slope = float((mean * truth.latents).sum() / mean.square().sum())
    assert slope == pytest.approx(1, abs=0.06)


def test_low_noise_is_taken_away_and_prompts_help_at_high_noise(oracle: Oracle) -> None:
    generator = torch.Generator().manual_seed(9)
    truth = sample(Prompt.each(48), generator=generator)
    noise = torch.randn(truth.latents.shape, generator=generator)

    def error(sigma: float, prompt: Prompt) -> float:
        noisy = (1 - sigma) * truth.latents + sigma * noise
        mean = oracle(noisy, torch.full((48,), sigma), prompt)
        return float((mean - truth.latents).square().mean())

    assert error(0.2, truth.prompt) < 2e-4
    assert error(0.85, truth.prompt) < 0.9 * error(0.85, truth.prompt.emptied())


def test_gradients_are_finite_and_those_of_the_mean(oracle: Oracle) -> None:
    """Along a random direction, against a difference of two calls."""
    generator = torch.Generator().manual_seed(10)
    truth = sample(Prompt.each(2), 3, generator)
    noise, way = (torch.randn(truth.latents.shape, generator=generator) for _ in range(2))
    sigma = torch.full((2,), 0.8)
    noisy = (0.2 * truth.latents + 0.8 * noise).requires_grad_(True)
    (gradient,) = torch.autograd.grad(oracle(noisy, sigma, truth.prompt).square().sum(), noisy)
    assert gradient.isfinite().all()
    with torch.no_grad():
        ends = [
            oracle(noisy + step * way, sigma, truth.prompt).square().sum() for step in (1e-2, -1e-2)
        ]
    slope = float((ends[0] - ends[1]) / 2e-2)
    assert float((gradient * way).sum()) == pytest.approx(slope, rel=0.05)
