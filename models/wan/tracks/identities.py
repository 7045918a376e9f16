"""Who points are: numbers that a student tells them apart by, drawn once for a stream."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray


class Identities:
    """Different numbers below `known` for `count` points; all follows from `seed` and `given`.

    They are given out in an order drawn once, as FastVideo draws those of its grid. A point that
    becomes another one gets the next of them; when all were given out, those come again that nobody
    has now.
    """

    def __init__(self, count: int, known: int, seed: int) -> None:
        """Raises ValueError if there are not more numbers than points."""
        if count >= known:
            raise ValueError(f"{count} points for {known} identities; expected fewer points")
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(known, generator=generator).numpy()
        self._order: NDArray[np.int32] = order.astype(np.int32)
        self.ids: NDArray[np.int64] = order[:count].copy()
        self.given = count

    def renew(self, points: Iterable[int]) -> None:
        """Make new ones of these points."""
        taken: set[int] | None = None
        for point in points:
            taken = set(self.ids.tolist()) if taken is None else taken
            while int(self._next()) in taken:
                self.given += 1
            self.ids[point] = self._next()
            taken.add(int(self.ids[point]))
            self.given += 1

    def load(self, ids: NDArray[np.int64], given: int) -> None:
        """Go on where identities of the same seed were."""
        self.ids, self.given = ids.copy(), given

    def _next(self) -> np.int32:
        return self._order[self.given % len(self._order)]
