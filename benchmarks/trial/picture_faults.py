"""Is what a model shows a picture at all? Black, flat, frozen and flickering frames are told.

The thresholds are wide of anything that a working model shows: a fault of a model, of its weights
or of a type of numbers is gross. What a working stream has of each, `embedded model / painted
pattern / reaction and diffusion`, and what a fault has:

| | working | fault |
|---|---|---|
| spread of a frame's values | 47 / 46 / 52 and more | 0 |
| mean of a frame | 50 / 98 / 201 and more | 0 |
| seconds in which nothing moved | 0 / 0 / 0 | to the end |
| share of frames that flicker | 0 / 0.005 / 0 | 1, or two in every chunk |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCKS = 16
SMALLEST_BLOCK = 8
FLAT_SPREAD = 1.0
"""Levels of 255. A frame of one colour has none, and a codec adds less than this."""
BLACK_MEAN = 8.0
"""Levels. A night has 15 and more; what is darker is dark all over."""
BAD_SHARE = 0.2
"""Of the frames may be black or flat: a film may begin with a fade."""
STILL_CHANGE = 0.25
"""Levels, of any block of a 16th of the picture: less than what one moving thing changes."""
FROZEN_S = 1.0
FLICKER_CHANGE = 6.0
"""Levels by which blocks differ, on average, from the mean of the frames before and after. What
moves passes through that mean; what flickers goes there and back."""
FLICKER_SHARE = 0.05
"""Of the frames: a cut is two of them, a seam at every chunk of 12 frames a sixth."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that no working model shows; `what` is a sentence with its figures."""

    name: str
    what: str


class PictureFaults:
    """Looks at the frames of one stream, one after the other; keeps a few numbers of each."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._means: list[float] = []
        self._spreads: list[float] = []
        self._blocks: list[np.ndarray] = []

    def look(self, frame: np.ndarray) -> None:
        """Take the next frame, uint8 RGB [H, W, 3]."""
        self._means.append(float(frame.mean()))
        # of each channel, so that one colour all over has none
        self._spreads.append(float(frame.reshape(-1, 3).std(axis=0).max()))
        self._blocks.append(_block_means(frame))

    @property
    def figures(self) -> dict[str, float]:
        """What the faults are told from, over all frames."""
        return {
            "frames": len(self._means),
            "lowest_spread": round(min(self._spreads), 2),
            "mean": round(float(np.mean(self._means)), 2),
            "black_share": round(float(np.mean(self._black())), 4),
            "longest_still_s": round(self._still_s(), 2),
            "flicker_share": round(self._flicker_share(), 4),
        }

    def found(self) -> list[Fault]:
        """The faults of what was looked at."""
        if not self._means:
            return [Fault("nothing", "no frame came")]
        flat = np.array(self._spreads) < FLAT_SPREAD
        black = self._black()
        faults: list[Fault] = []
        if flat[-1] and black[-1]:
            # attention spreads one such value over a chunk, and the cache over all that follow
            first = len(flat) - int(np.argmin((flat & black)[::-1]) or len(flat))
            faults.append(
                Fault("nan", f"black without a trace from frame {first} on: values are no numbers")
            )
        elif float(flat.mean()) > BAD_SHARE and not black.all():
            faults.append(Fault("flat", f"{float(flat.mean()):.0%} of the frames have one colour"))
        elif float(black.mean()) > BAD_SHARE:
            faults.append(Fault("black", f"{float(black.mean()):.0%} of the frames are black"))
        if self._still_s() >= FROZEN_S:
            faults.append(Fault("frozen", f"nothing moved for {self._still_s():.1f} s"))
        if self._flicker_share() > FLICKER_SHARE:
            share = self._flicker_share()
            faults.append(
                Fault("flicker", f"{share:.0%} of the frames differ from both of their neighbours")
            )
        return faults

    def _black(self) -> np.ndarray:
        return np.array(self._means) < BLACK_MEAN

    def _still_s(self) -> float:
        """The longest time in which no block changed."""
        longest = run = 0
        for one, other in zip(self._blocks, self._blocks[1:], strict=False):
            run = run + 1 if float(np.abs(other - one).max()) < STILL_CHANGE else 0
            longest = max(longest, run)
        return longest / self._fps

    def _flicker_share(self) -> float:
        """Of frames whose blocks differ from the mean of their neighbours."""
        if len(self._blocks) < 3:
            return 0.0
        triples = zip(self._blocks, self._blocks[1:], self._blocks[2:], strict=False)
        changes = [float(np.abs(b - (a + c) / 2).mean()) for a, b, c in triples]
        return float(np.mean(np.array(changes) > FLICKER_CHANGE))


def _block_means(frame: np.ndarray) -> np.ndarray:
    """Means [16, 16, 3] of the blocks of a frame; fewer where those were smaller than 8 pixels."""
    means = frame.astype(np.float32)
    for axis in (0, 1):
        edges = _edges(frame.shape[axis])
        counts = np.diff([*edges, frame.shape[axis]])
        shape = [-1 if k == axis else 1 for k in range(3)]
        means = np.add.reduceat(means, edges, axis=axis) / counts.reshape(shape)
    return means


def _edges(length: int) -> Sequence[int]:
    """Where the blocks begin."""
    blocks = max(1, min(BLOCKS, length // SMALLEST_BLOCK))
    return np.linspace(0, length, blocks, endpoint=False).astype(int).tolist()
