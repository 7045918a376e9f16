"""UniPC against its formulas written out in float64, and against the flow's exact solution."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rollcast.models.sampling.unipc import UniPC

Velocity = Callable[[Tensor, float], Tensor]


def sampled(sampler: UniPC, noise: Tensor, velocity: Velocity) -> Tensor:
    """What the sampler makes of `noise` under `velocity(x, sigma)`."""
    x, memory = noise, {}
    for index in range(len(sampler.timesteps)):
        x = sampler.step(index, x, velocity(x, sampler.sigmas[index]), "velocity", memory)
    return x


def literal(sigmas: list[float], noise: Tensor, velocity: Velocity) -> Tensor:
    """The same as the paper has it: B2(h), orders 1, 2, ..., 2, 1, a linear system to solve."""
    steps = len(sigmas) - 1
    lam = [math.log((1 - s) / s) if s else math.inf for s in sigmas]
    models: list[Tensor] = []
    x, last, order = noise, noise, 0
    for i in range(steps):
        models.append(x - sigmas[i] * velocity(x, sigmas[i]))
        if i:
            h = lam[i] - lam[i - 1]
            hh = -h
            b = math.expm1(hh)
            phi = b / hh - 1
            before = models[i - 1]
            base = sigmas[i] / sigmas[i - 1] * last - (1 - sigmas[i]) * b * before
            if order == 1:
                change = 0.5 * (models[i] - before)
            else:
                r = (lam[i - 2] - lam[i - 1]) / h
                matrix = torch.tensor([[1.0, 1.0], [r, 1.0]], dtype=torch.float64)
                right = torch.tensor([phi / b, 2 * (phi / hh - 0.5) / b], dtype=torch.float64)
                rho = torch.linalg.solve(matrix, right)
                change = rho[0] * (models[i - 2] - before) / r + rho[1] * (models[i] - before)
            x = base - (1 - sigmas[i]) * b * change
        order = min(2, steps - i, i + 1)
        last = x
        if sigmas[i + 1] == 0:
            return models[i]
        h = lam[i + 1] - lam[i]
        b = math.expm1(-h)
        x = sigmas[i + 1] / sigmas[i] * last - (1 - sigmas[i + 1]) * b * models[i]
        if order == 2:
            r = (lam[i - 1] - lam[i]) / h
            x = x - (1 - sigmas[i + 1]) * b * 0.5 * (models[i - 1] - models[i]) / r
    raise AssertionError("the last sigma is 0")


def bent(x: Tensor, sigma: float) -> Tensor:
    """A velocity that depends on all it is given."""
    return torch.sin(x * (1 + sigma)) + 0.3 * x.square() - sigma


def test_published_grid() -> None:
    sampler = UniPC(4)
    assert sampler.timesteps == (999.0, 937.0, 833.0, 624.0)
    wanted = (0.9997998476028442, 0.9372654557228088, 0.8330553770065308, 0.6246873736381531, 0.0)
    assert sampler.sigmas == wanted
    assert UniPC(2).timesteps == (999.0, 833.0)
    with pytest.raises(ValueError, match="at least one"):
        UniPC(0)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 12])
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_equals_the_formulas(count: int, shift: float) -> None:
    torch.manual_seed(count)
    noise = torch.randn(40, dtype=torch.float64)
    sampler = UniPC(count, shift=shift)
    wanted = literal(list(sampler.sigmas), noise, bent)
    torch.testing.assert_close(sampled(sampler, noise, bent), wanted, atol=1e-12, rtol=1e-12)


def test_two_steps_are_euler() -> None:
    torch.manual_seed(0)
    noise = torch.randn(40, dtype=torch.float64)
    sampler = UniPC(2)
    high, low, _ = sampler.sigmas
    middle = noise + (low - high) * bent(noise, high)
    wanted = middle - low * bent(middle, low)
    torch.testing.assert_close(sampled(sampler, noise, bent), wanted, atol=1e-12, rtol=1e-12)


def test_more_steps_come_nearer() -> None:
    """Data of N(0, .3): the optimal velocity is linear in x, and the ODE's solution is known."""
    variance = 0.09

    def optimal(x: Tensor, sigma: float) -> Tensor:
        spread = (1 - sigma) ** 2 * variance + sigma**2
        return x * (sigma - (1 - sigma) * variance) / spread

    noise = torch.ones(1, dtype=torch.float64)

    def error(count: int) -> float:
        sampler = UniPC(count, shift=1.0)
        first = sampler.sigmas[0]
        exact = math.sqrt(variance / ((1 - first) ** 2 * variance + first**2))
        return abs(sampled(sampler, noise, optimal).item() - exact)

    assert error(128) < error(32) / 3 < error(8) / 9
    assert error(128) < 1e-3


def test_a_prediction_of_the_sample_is_taken_as_it_is() -> None:
    torch.manual_seed(1)
    noise = torch.randn(8, dtype=torch.float64)
    sampler = UniPC(3)
    x, memory = noise, {}
    for index, sigma in enumerate(sampler.sigmas[:-1]):
        x = sampler.step(index, x, x - sigma * bent(x, sigma), "sample", memory)
    torch.testing.assert_close(x, sampled(sampler, noise, bent), atol=1e-12, rtol=1e-12)


def test_a_chunk_goes_on_from_what_was_kept() -> None:
    """Latents and memory are all that a chunk needs between two of its calls."""
    torch.manual_seed(2)
    noise = torch.randn(8)
    sampler = UniPC(5)
    x, memory = noise, {}
    for index, sigma in enumerate(sampler.sigmas[:-1]):
        memory = {name: tensor.clone() for name, tensor in memory.items()}
        x = UniPC(5).step(index, x.clone(), bent(x, sigma), "velocity", memory)
    assert torch.equal(x, sampled(sampler, noise, bent))
