"""What the avatar and the objects do when nobody tells them: smooth seeded motion, blinks, gaze.

The student takes these as per-frame conditions, so a person's drag simply replaces them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

POSE = ("yaw", "pitch", "roll", "gaze_x", "gaze_y")
# standard deviation (radians) and time constant (frames) of each channel when idle; a little calmer
# than rendered heads, which also move to speak
_SPREAD = np.array([0.072, 0.035, 0.031, 0.10, 0.05])
_TIME = np.array([18.0, 14.0, 20.0, 8.0, 8.0])
_BLINK = (0.4, 1.0, 0.9, 0.45, 0.1)
_BLINK_GAP = (50, 140)
# eyes stay on the viewer: gaze per yaw and per pitch; pitch is positive downwards, gaze upwards
_GAZE = np.array([-0.5, 0.5])
# how far a head is lowered (radians) by an expression that is fully shown
NOD = {"sad": 0.09, "sleepy": 0.07, "angry": 0.04, "surprised": -0.05}
# how fast a dragged pose is approached, share of the remaining way per frame
_PULL = 0.3


@dataclass(slots=True)
class SmoothNoise:
    """Twice low-passed white noise with unit variance, one value per channel and frame."""

    fast: np.ndarray
    slow: np.ndarray

    @classmethod
    def zeros(cls, channels: int) -> SmoothNoise:
        return cls(np.zeros(channels), np.zeros(channels))

    def step(self, rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
        """Advance one frame; `time` is the time constant of each channel in frames."""
        keep = np.exp(-1 / time)
        self.fast = keep * self.fast + (1 - keep) * rng.standard_normal(len(self.fast))
        self.slow = keep * self.slow + (1 - keep) * self.fast
        # variance of the cascade for white noise in: (1-a)^4 (1+a^2) / (1-a^2)^3
        variance = (1 - keep) ** 4 * (1 + keep**2) / (1 - keep**2) ** 3
        return self.slow / np.sqrt(variance)


def seeded_rng(seed: int, state: dict[str, Any] | None = None) -> np.random.Generator:
    """A generator from a seed, or from a saved bit generator state."""
    generator = np.random.Generator(np.random.PCG64(seed))
    if state is not None:
        generator.bit_generator.state = state
    return generator


@dataclass(slots=True)
class AvatarMotion:
    """Head pose, gaze, blink and brow of one avatar, frame by frame."""

    rng: np.random.Generator
    noise: SmoothNoise = field(default_factory=lambda: SmoothNoise.zeros(len(POSE)))
    next_blink: int = 30
    pull: np.ndarray = field(default_factory=lambda: np.zeros(3))  # yaw, pitch, weight
    loudness: float = 0.0

    @classmethod
    def seeded(cls, seed: int) -> AvatarMotion:
        return cls(seeded_rng(seed))

    def step(
        self, loudness: float, dragged: tuple[float, float] | None, nod: float = 0.0
    ) -> np.ndarray:
        """One frame: [7] = pose (5, radians), blink 0..1, brow 0..1.

        `loudness` is the speech level 0..1 of the frame; `dragged` a yaw and pitch to go to, and
        `nod` the pitch that an expression adds where nobody drags.
        """
        pose = self.noise.step(self.rng, _TIME) * _SPREAD
        pose[1] += nod
        pose[3:] += _GAZE * pose[:2]
        if dragged is not None:
            self.pull[:2] += _PULL * (np.array(dragged) - self.pull[:2])
        self.pull[2] += _PULL * (float(dragged is not None) - self.pull[2])
        pose[:2] += self.pull[2] * (self.pull[:2] - pose[:2])
        self.loudness += 0.2 * (loudness - self.loudness)
        brow = float(np.clip(1.2 * self.loudness, 0, 0.5))
        return np.concatenate([pose, [self._blink(), brow]])

    def steps(
        self, loud: Iterable[float], dragged: tuple[float, float] | None, nods: Iterable[float]
    ) -> np.ndarray:
        """As many frames [T, 7] as there are loudnesses and nods."""
        told = zip(loud, nods, strict=True)
        return np.stack([self.step(float(x), dragged, nod) for x, nod in told])

    def _blink(self) -> float:
        self.next_blink -= 1
        if self.next_blink > 0:
            return 0.0
        phase = -self.next_blink
        if phase == len(_BLINK) - 1:
            self.next_blink = int(self.rng.integers(*_BLINK_GAP))
        return _BLINK[phase]

    def save(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return {
            "rng": self.rng.bit_generator.state,
            "noise": [self.noise.fast.tolist(), self.noise.slow.tolist()],
            "next_blink": self.next_blink,
            "pull": self.pull.tolist(),
            "loudness": self.loudness,
        }

    @classmethod
    def load(cls, saved: dict[str, Any]) -> AvatarMotion:
        """The inverse of `save`."""
        fast, slow = (np.array(values) for values in saved["noise"])
        return cls(
            seeded_rng(0, saved["rng"]),
            SmoothNoise(fast, slow),
            saved["next_blink"],
            np.array(saved["pull"]),
            saved["loudness"],
        )
