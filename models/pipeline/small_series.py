"""The small snapshots of a stream as its stages hand them over, until one is old enough to be used.

From one of a model whose chunks rebuild its caches a stream goes on only so many chunks later:
until those are made, an older one is the newest that is of use. Who keeps several is told of each
at once, and from which chunk on what follows from it may be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .part_file import Part

SHOWN_LATER = 2
"""Chunks that are made before the one that is shown, at most: those are repeated as well."""
_UNWHOLE = 2


@dataclass(slots=True)
class SmallSeries:
    """One is taken behind every `every`-th chunk, 0: none is."""

    every: int = 0
    rebuild_chunks: int = 0
    """See `small_snapshots.rebuild_chunks`."""
    _coming: dict[int, dict[str, Part]] = field(default_factory=dict)
    _whole: dict[int, dict[str, Part]] = field(default_factory=dict)
    """Both by the chunk behind which they are."""
    _told: int = -1
    """The newest that was told of."""

    def wants(self, index: int) -> bool:
        """Whether one should be taken behind this chunk."""
        return bool(self.every) and index % self.every == self.every - 1

    def take(self, index: int, parts: Mapping[str, Part], count: int) -> None:
        """A stage's parts of the one behind chunk `index`, of `count` in all."""
        coming = self._coming.setdefault(index, {})
        coming.update(parts)
        if len(coming) == count:
            self._whole[index] = self._coming.pop(index)
        # a stage could not save its part
        for left in sorted(self._coming)[:-_UNWHOLE]:
            del self._coming[left]

    def shown_from(self, index: int) -> int:
        """The first chunk that looks as it would have, made from the one behind chunk `index`."""
        return index + 1 + self.rebuild_chunks

    def newest(self, delivered: int) -> tuple[int, dict[str, Part]] | None:
        """The newest behind a chunk that has come out; each but once."""
        known = max((index for index in self._whole if index <= delivered), default=-1)
        if known <= self._told:
            return None
        self._told = known
        return known, self._whole[known]

    def ripe(self, delivered: int) -> tuple[int, dict[str, Part]] | None:
        """The newest that is old enough once chunk `delivered` has come out; each but once."""
        margin = self.rebuild_chunks + SHOWN_LATER if self.rebuild_chunks else 0
        old_enough = [index for index in self._whole if index + margin <= delivered]
        if not old_enough:
            return None
        newest = max(old_enough)
        parts = self._whole[newest]
        self._whole = {index: each for index, each in self._whole.items() if index > newest}
        return newest, parts

    def clear(self) -> None:
        """Those who made them are gone; what was told of was kept elsewhere."""
        self._coming.clear()
        self._whole.clear()
