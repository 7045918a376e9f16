"""Numbers of the published tables, and what noise and prediction have to do with each other."""

from __future__ import annotations

import pytest
import torch

from rollcast.models.sampling.flow_schedule import FlowSchedule


def test_published_step_list() -> None:
    steps = FlowSchedule(5.0).warp((1000, 750, 500, 250))
    assert steps == (1000.0, 937.5, 833.3333129882812, 625.0)
    assert FlowSchedule(5.0).warp((1000, 0)) == (1000.0, 0.0)
    with pytest.raises(ValueError, match="outside"):
        FlowSchedule().warp((1001,))


def test_entries_that_division_gets_wrong() -> None:
    """Rolling Forcing's steps: 1 - i / 1000 would be a bit off in three of them."""
    wanted = (1000.0, 952.3810424804688, 882.3529052734375, 769.2307739257812, 555.5556030273438)
    assert FlowSchedule(5.0).warp((1000, 800, 600, 400, 200)) == wanted


def test_a_table_shifted_twice() -> None:
    table = FlowSchedule(6.0, twice=True)
    wanted = (1000.0, 947.6987915039062, 858.35693359375, 671.0526123046875)
    assert table.warp((1000, 750, 500, 250)) == wanted
    sigmas = [table.sigma(step) for step in wanted]
    assert sigmas == [1.0, 0.9476987719535828, 0.8583569526672363, 0.6710526347160339]
    ends = table.timesteps[1].item(), table.timesteps[-1].item()
    assert ends == (999.833984375, 34.78260803222656)
    five = FlowSchedule(5.0, twice=True).warp((750, 500, 250))
    assert five == pytest.approx((937.8110, 834.4371, 628.7129), abs=5e-5)


def test_sigma_is_looked_up_not_divided() -> None:
    schedule = FlowSchedule(8.0)
    # 8 * 0.5 / (1 + 7 * 0.5)
    assert schedule.sigma(8000 / 9) == pytest.approx(8 / 9, abs=1e-6)
    nearest = min(schedule.timesteps.tolist(), key=lambda entry: abs(entry - 757))
    assert schedule.sigma(757) == pytest.approx(nearest / 1000, abs=1e-6)
    assert schedule.sigma(757) != 0.757
    assert schedule.sigma(0) == pytest.approx(8 * 0.001 / (1 + 7 * 0.001), abs=1e-6)


def test_noise_and_sample_undo_each_other() -> None:
    torch.manual_seed(0)
    schedule, sample, noise = FlowSchedule(), torch.randn(2, 3), torch.randn(2, 3)
    noisy = schedule.add_noise(sample, noise, 833.3333)
    back = schedule.to_sample(noise - sample, noisy, 833.3333, "velocity")
    torch.testing.assert_close(back, sample, atol=1e-6, rtol=1e-6)
    assert schedule.to_sample(sample, noisy, 833.3333, "sample") is sample
