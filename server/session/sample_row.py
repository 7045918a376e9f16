"""Sound by number of its samples: added at the end, let go of at the begin or anywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np


class SampleRow:
    """Int16 samples, numbered from 0 as they came; what is let go of leaves its numbers behind."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, np.ndarray]] = deque()
        """The number of the first sample, and the samples, in order."""
        self.end = 0
        """The number of the next sample."""

    @property
    def byte_count(self) -> int:
        """What is held."""
        return sum(samples.nbytes for _, samples in self._pieces)

    @property
    def held(self) -> list[tuple[int, int]]:
        """What is held, as the first and the end of each stretch without a gap."""
        stretches: list[tuple[int, int]] = []
        for first, samples in self._pieces:
            end = first + len(samples)
            if stretches and stretches[-1][1] == first:
                first = stretches.pop()[0]
            stretches.append((first, end))
        return stretches

    def add(self, samples: np.ndarray, first: int | None = None) -> None:
        """Append int16 [n], the first of which has this number, the next one if None."""
        first = self.end if first is None else first
        self.end = first + len(samples)
        if len(samples):
            self._pieces.append((first, samples))

    def cut(self, first: int) -> None:
        """Let go of what comes from this number on; numbers go on."""
        while self._pieces and self._pieces[-1][0] >= first:
            self._pieces.pop()
        if self._pieces:
            begin, samples = self._pieces[-1]
            self._pieces[-1] = begin, samples[: first - begin]

    def forget(self, first: int) -> None:
        """Let go of pieces that lie wholly before this number."""
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= first:
            self._pieces.popleft()

    def keep(self, stretches: Iterable[tuple[int, int]]) -> None:
        """Hold what is in one of these, as another row holds it."""
        kept = self._pieces
        self._pieces = deque()
        for first, end in stretches:
            for begin, samples in kept:
                part = samples[max(0, first - begin) : max(0, end - begin)]
                if len(part):
                    self._pieces.append((max(first, begin), part))

    def part(self, first: int, end: int) -> np.ndarray:
        """The samples of these numbers, int16 [end - first]; silence for what is not held."""
        found = np.zeros(end - first, np.int16)
        for begin, samples in self._pieces:
            if begin >= end:
                break
            here, stop = max(begin, first), min(begin + len(samples), end)
            if here < stop:
                found[here - first : stop - first] = samples[here - begin : stop - begin]
        return found

    def since(self, first: int) -> list[tuple[int, np.ndarray]]:
        """What is held from this number on, each stretch with the number of its first sample."""
        return [
            (begin, self.part(begin, end))
            for begin, end in ((max(first, a), b) for a, b in self.held)
            if begin < end
        ]

    def clear(self) -> None:
        """Let go of everything."""
        self._pieces.clear()
