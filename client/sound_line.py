"""Sound by media time: taken in as it comes, given out in pieces of any length without a gap."""

from __future__ import annotations

import numpy as np

from .shown import Audio


class SoundLine:
    """The sound of a stream at `rate` samples per second, for who plays it beside the frames.

    Pure state. Where nothing has come there is silence, and so there is before `mute_until`.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._pieces: list[tuple[int, np.ndarray]] = []
        """The first sample's number in media time, and the samples, in order."""
        self._at: int | None = None
        self._silent_until: int | None = 0

    @property
    def position_us(self) -> float:
        """Media time up to which it was given out."""
        return (self._at or 0) * 1e6 / self.rate

    def add(self, audio: Audio) -> None:
        """Take in what the server sent; order as on the wire."""
        begin = self._sample(audio.pts_us)
        if self._pieces:
            last, samples = self._pieces[-1]
            # the times of frames that do not last whole samples are rounded
            begin = last + len(samples) if abs(last + len(samples) - begin) <= 1 else begin
        self._pieces.append((begin, audio.samples))

    def mute(self, until_us: float | None) -> None:
        """Everything before this media time is silence; None: everything, until it is said anew."""
        self._silent_until = None if until_us is None else self._sample(until_us)

    def take(self, from_us: float, until_us: float, ahead_us: float = 0.0) -> np.ndarray:
        """The sound up to `until_us` that was not given out, int16 [n].

        It begins where the last one ended, or, at the first call and after a leap of media time by
        more than a second, at `from_us`. Of what has come up to `ahead_us` more is given.
        """
        first, end = self._sample(from_us), self._sample(until_us)
        if self._at is None or abs(first - self._at) > self.rate:
            self._at = first
        known = max((begin + len(samples) for begin, samples in self._pieces), default=0)
        end = max(end, min(known, self._sample(until_us + ahead_us)))
        if end <= self._at:
            return np.zeros(0, np.int16)
        taken = np.zeros(end - self._at, np.int16)
        for begin, samples in self._pieces:
            here, stop = max(begin, self._at), min(begin + len(samples), end)
            if here < stop:
                taken[here - self._at : stop - self._at] = samples[here - begin : stop - begin]
        if self._silent_until is None:
            taken[:] = 0
        else:
            taken[: max(0, self._silent_until - self._at)] = 0
        self._at = end
        self._pieces = [(b, s) for b, s in self._pieces if b + len(s) > end]
        return taken

    def _sample(self, pts_us: float) -> int:
        return round(pts_us * self.rate / 1e6)
