"""Speech at another rate: as long, as loud, the same tone."""

from __future__ import annotations

import numpy as np
import pytest

from rollcast.client.resampler import Resampler


@pytest.mark.parametrize(("given", "wanted"), [(24_000, 16_000), (8_000, 24_000), (48_000, 24_000)])
def test_a_tone_stays_itself(given: int, wanted: int) -> None:
    tone = (9_000 * np.sin(2 * np.pi * 440 * np.arange(given) / given)).astype(np.int16)
    resampler = Resampler(given, wanted)
    pieces = [resampler.convert(piece) for piece in np.array_split(tone, 50)]
    made = np.concatenate([*pieces, resampler.rest()])
    assert abs(len(made) - wanted) <= wanted // 500
    times = np.arange(wanted // 4, 3 * wanted // 4)
    spectrum = np.abs(np.fft.rfft(made[times] / 9_000))
    assert np.argmax(spectrum) * wanted / len(times) == pytest.approx(440, abs=2)
    assert np.abs(made[times]).max() == pytest.approx(9_000, rel=0.02)


def test_the_same_rate_is_handed_on() -> None:
    tone = np.arange(100, dtype=np.int16)
    resampler = Resampler(16_000, 16_000)
    assert resampler.convert(tone) is tone
    assert not len(resampler.rest())
