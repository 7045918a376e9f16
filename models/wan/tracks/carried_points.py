"""Points that a camera carries along from their places on the picture, and how they begin anew.

A point begins anew at its place when it left the picture, and in any case every `TURN_CHUNKS`
chunks, so that the points of a dolly backwards do not end up in the middle: a quarter of them,
drawn once, at a time. It does so between two chunks only; one that left is not seen for the rest of
its chunk. Points in somebody's hand are not carried: they go back to their places and stay there. A
point that began anew shows something else than before, so it must become another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...contract import CameraMotion
from .plane_motion import Doubles, flow, homographies, moved

TURN_CHUNKS = 4
_STILL = 1e-9
Flags = NDArray[np.bool_]


@dataclass(slots=True)
class CarriedPoints:
    """N points whose own places are `grid` [N, 2]; where they were carried to, and by what motion.

    `places` [N, 2] are in 0..1 while points are in sight, `seen` [N].
    """

    grid: Doubles
    motion: CameraMotion
    places: Doubles
    seen: Flags
    chunks: int = 0

    @classmethod
    def begin(cls, grid: Doubles) -> CarriedPoints:
        """All at their places, under a camera that stands still."""
        return cls(grid, CameraMotion(), grid.copy(), np.ones(len(grid), dtype=np.bool_))

    def renew(self, held: Flags) -> NDArray[np.int64]:
        """Before a chunk: which points begin anew, given which are `held` [N] in it."""
        # the points are in an order that was drawn
        turn = np.arange(len(self.grid)) % TURN_CHUNKS == self.chunks % TURN_CHUNKS
        away = ~self.seen | (np.abs(self.places - self.grid).max(axis=1) > _STILL)
        anew = away & (~self.seen | turn | held)
        self.places[anew] = self.grid[anew]
        self.seen[anew] = True
        self.chunks += 1
        return np.flatnonzero(anew)

    def carry(
        self, pictures: int, held: Flags, *, fps: float, aspect: float
    ) -> tuple[Doubles, Flags]:
        """Where they are in a chunk's `pictures` [T, N, 2], and which are in sight [T, N].

        The first of these is a frame behind the last one of the chunk before. `aspect` is the
        picture's height by its width.
        """
        times = [(k + 1) / fps for k in range(pictures)]
        places, seen = moved(self.places, homographies(flow(self.motion, aspect), times))
        places = np.where(held[:, None], self.grid, places)
        seen = held | np.logical_and.accumulate(seen, axis=0)
        self.places, self.seen = places[-1].copy(), seen[-1].copy()
        return places, seen

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to save."""
        return {"places": torch.from_numpy(self.places), "seen": torch.from_numpy(self.seen)}

    def metadata(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        return {
            "chunks": self.chunks,
            "translation": self.motion.translation,
            "rotation": self.motion.rotation,
        }

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Take over what points with the same places saved."""
        self.places = tensors["places"].numpy().copy()
        self.seen = tensors["seen"].numpy().copy()
        self.chunks = int(metadata["chunks"])
        self.motion = CameraMotion(_triple(metadata["translation"]), _triple(metadata["rotation"]))


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)
