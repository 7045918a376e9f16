"""Sound is given out by media time: whole, in order, and silent where it is muted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rollcast.client.shown import Audio
from rollcast.client.sound_line import SoundLine

RATE = 16_000
MS = RATE // 1000


def sound(at_ms: int, long_ms: int, value: int) -> Audio:
    samples = np.full(long_ms * MS, value, np.int16)
    return Audio(0, at_ms * 1e3, 0, False, samples, RATE)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=12), st.integers(5, 70))
def test_all_of_it_comes_once_and_in_order(lengths: list[int], piece_ms: int) -> None:
    line, at_ms = SoundLine(RATE), 0
    for number, length in enumerate(lengths):
        line.add(sound(at_ms, length, number + 1))
        at_ms += length
    taken = [
        line.take(start * 1e3, (start + piece_ms) * 1e3) for start in range(0, at_ms, piece_ms)
    ]
    whole = np.repeat(np.arange(1, len(lengths) + 1), np.array(lengths) * MS)
    heard = np.concatenate(taken)
    assert np.array_equal(heard[: len(whole)], whole)
    assert not heard[len(whole) :].any()


def test_where_nothing_came_there_is_silence_and_time_goes_on() -> None:
    line = SoundLine(RATE)
    line.add(sound(80, 40, 5))
    assert not line.take(0, 80_000).any()
    assert (line.take(80_000, 120_000) == 5).all()
    assert line.position_us == 120_000


def test_more_is_given_ahead_only_if_it_is_there() -> None:
    line = SoundLine(RATE)
    line.add(sound(0, 60, 5))
    assert len(line.take(0, 40_000, ahead_us=40_000)) == 60 * MS
    assert len(line.take(40_000, 80_000, ahead_us=40_000)) == 20 * MS


def test_a_leap_of_media_time_is_followed() -> None:
    line = SoundLine(RATE)
    line.take(0, 40_000)
    line.add(sound(5_000, 40, 5))
    assert (line.take(5_000_000, 5_040_000) == 5).all()


def test_what_is_before_the_cut_is_silent() -> None:
    line = SoundLine(RATE)
    line.add(sound(0, 100, 5))
    line.mute(None)
    assert not line.take(0, 40_000).any()
    line.mute(60_000)
    heard = line.take(40_000, 80_000)
    assert not heard[: 20 * MS].any()
    assert (heard[20 * MS :] == 5).all()
