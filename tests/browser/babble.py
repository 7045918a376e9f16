"""Something like speech, made here: syllables of open vowels with silence in between."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

PITCH_HZ = 130.0
# First three formants of "a", "e", "o" in Hz, with their bandwidths.
VOWELS = (
    ((800, 80), (1200, 90), (2600, 120)),
    ((500, 70), (1900, 100), (2600, 120)),
    ((500, 70), (900, 80), (2500, 120)),
)
SYLLABLE_S = 0.24
SPOKEN_S = 0.96
SILENT_S = 0.96


def babble(seconds: float, rate: int) -> np.ndarray:
    """Samples in -1..1: four syllables, as much silence, and so on."""
    period = SPOKEN_S + SILENT_S
    time_s = np.arange(round(seconds * rate)) / rate
    in_period = time_s % period
    number = (in_period // SYLLABLE_S).astype(int)
    vowels = [_vowel(len(time_s), rate, formants) for formants in VOWELS]
    chosen = np.choose(number % len(VOWELS), vowels)
    rising = np.sin(np.pi * (in_period % SYLLABLE_S) / SYLLABLE_S) ** 0.7
    sound = chosen * np.where(in_period < SPOKEN_S, rising, 0.0)
    return 0.5 * sound / np.abs(sound).max()


def _vowel(samples: int, rate: int, formants: tuple[tuple[int, int], ...]) -> np.ndarray:
    """A pulse train through resonators."""
    sound = np.zeros(samples)
    sound[:: round(rate / PITCH_HZ)] = 1.0
    for hz, width_hz in formants:
        radius = np.exp(-np.pi * width_hz / rate)
        turn = 2 * np.pi * hz / rate
        sound = lfilter([1.0], [1.0, -2 * radius * np.cos(turn), radius**2], sound)
    return sound / np.abs(sound).max()
