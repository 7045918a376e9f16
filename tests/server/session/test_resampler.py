"""A client's rate to the model's: no seams, exact lengths, a short delay."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollcast.server.session.resampler import Resampler

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def sine(count: int, rate: int, hz: float = 440.0) -> np.ndarray:
    return (10_000 * np.sin(2 * np.pi * hz * np.arange(count) / rate)).astype(np.int16)


def through(resampler: Resampler, samples: np.ndarray, sizes: list[int]) -> np.ndarray:
    pieces, begin = [], 0
    for size in sizes:
        pieces.append(resampler.push(samples[begin : begin + size]))
        begin += size
    pieces.append(resampler.push(samples[begin:]))
    return np.concatenate([*pieces, resampler.finish()])


@pytest.mark.parametrize("rate", RATES)
def test_packets_join_without_a_click_and_every_sample_is_in_its_place(rate: int) -> None:
    made = through(Resampler(rate, 16_000), sine(rate, rate), [rate // 50] * 49)
    assert len(made) == 16_000
    # but for the ends, where the filter sees nothing beyond
    np.testing.assert_allclose(made[60:-60], sine(16_000, 16_000)[60:-60], atol=2.5)


@given(
    st.sampled_from(RATES) | st.integers(8_000, 48_000),
    st.sampled_from((16_000, 24_000)),
    st.lists(st.integers(0, 700), max_size=12),
    st.integers(0, 2_000),
)
@example(8_000, 16_000, [], 1)
def test_lengths_are_exact_and_do_not_depend_on_the_packets(
    rate: int, to_rate: int, sizes: list[int], more: int
) -> None:
    count = sum(sizes) + more
    resampler = Resampler(rate, to_rate)
    tone = sine(count, rate)
    made = through(resampler, tone, sizes)
    assert abs(len(made) - count * to_rate / rate) <= 0.5
    assert len(made) == resampler.converted(count)
    np.testing.assert_array_equal(through(resampler, tone, []), made)


@pytest.mark.parametrize("rate", [each for each in RATES if each != 16_000])
def test_the_delay_is_a_few_milliseconds(rate: int) -> None:
    resampler = Resampler(rate, 16_000)
    pushed = given_out = 0
    longest_ms = 0.0
    for _ in range(50):
        given_out += len(resampler.push(sine(rate // 50, rate)))
        pushed += rate // 50
        longest_ms = max(longest_ms, 1000 * (pushed / rate - given_out / 16_000))
    assert longest_ms <= 2.5


@pytest.mark.parametrize("to_rate", [16_000, 24_000])
def test_equal_rates_pass_bit_for_bit_and_at_once(to_rate: int) -> None:
    noise = np.random.default_rng(0).integers(-32768, 32767, 999, dtype=np.int16)
    resampler = Resampler(to_rate, to_rate)
    np.testing.assert_array_equal(resampler.push(noise), noise)
    assert not len(resampler.finish())


def test_a_reset_forgets_what_was_held_back() -> None:
    resampler = Resampler(24_000, 16_000)
    resampler.push(sine(2_400, 24_000))
    resampler.reset()
    assert not len(resampler.finish())
