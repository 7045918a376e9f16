"""From what a viewer does with pointer and camera to the points that a chunk is told of.

A grid of points lies on the picture. Handles pull at those around them, as FastVideo's live server
for TrackWan has it (`handle_grid`). Of these points a student is told of few, since it was trained
so: `EXTRA_POINTS` that are drawn once, and the one nearest to each handle; and of these only while
they are away from their places, as published: a point that nobody moves says nothing, and one that
is released is not seen any more. What is pinned (an anchor) is seen where it is, and other handles
do not move it.

Of the camera the extra points tell, which it carries along (`carried_points`). Near a handle the
handle wins: the camera does not move what is in its reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...contract import Controls
from ..handle_grid import Floats, grid_points, is_away, nearest_point, pull
from .carried_points import CarriedPoints, Flags
from .identities import Identities
from .strokes import Stroke, Strokes

GRID = 50
"""Points of the grid a side; this and the next two as FastVideo's live server has them."""
RADIUS = 0.15
"""How far a handle reaches, in widths and heights of the picture."""
EXTRA_POINTS = 20
IDENTITIES = 100_000


@dataclass(frozen=True, slots=True)
class ToldTracks:
    """The points that one chunk is told of; as `track_map.nearest_cell_track_map` wants them.

    `points` [T, M, 2] in 0..1 and `visibility` [T, M], float32, of each of T pictures; `ids` [M]
    int64. Points that are not seen in any picture are left out.
    """

    points: Tensor
    visibility: Tensor
    ids: Tensor


@dataclass(slots=True)
class TrackState:
    """What a stream's pointer and camera have done so far; `extra` are indices of extra points."""

    seed: int
    strokes: Strokes
    identities: Identities
    extra: NDArray[np.int64]
    carried: CarriedPoints

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to save."""
        return {"ids": torch.from_numpy(self.identities.ids)} | self.carried.tensors()

    def metadata(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        return {
            "seed": self.seed,
            "strokes": self.strokes.plain(),
            "given": self.identities.given,
            "carried": self.carried.metadata(),
        }


class TrackControl:
    """Points for streams of pictures of `size` (width, height) at `fps`; what changes is a state.

    `identities` is how many different points a student knows (`max_track_id`).
    """

    def __init__(
        self,
        size: tuple[int, int],
        fps: float,
        *,
        grid: int = GRID,
        radius: float = RADIUS,
        extra_points: int = EXTRA_POINTS,
        identities: int = IDENTITIES,
    ) -> None:
        self._grid = grid_points(grid)
        self._aspect = size[1] / size[0]
        self._fps = fps
        self._radius = radius
        self._extra_points = extra_points
        self._identities = identities

    def start(self, seed: int) -> TrackState:
        """A stream that nobody has touched; identities and extra points follow from its seed."""
        count = len(self._grid)
        generator = torch.Generator().manual_seed(seed)
        extra = torch.randperm(count, generator=generator)[: self._extra_points].numpy()
        carried = CarriedPoints.begin(self._grid[extra].astype(np.float64))
        return TrackState(
            seed, Strokes(), Identities(count, self._identities, seed), extra, carried
        )

    def begin_anew(self, state: TrackState, seed: int) -> TrackState:
        """The state of a stream that starts again, from the same image or another.

        What is held was moved in a picture that is gone: it is taken hold of where it is now.
        """
        fresh = self.start(seed)
        fresh.strokes, fresh.carried.motion = state.strokes, state.carried.motion
        fresh.strokes.take_anew()
        return fresh

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> TrackState:
        """The state whose `tensors` and `metadata` were saved."""
        state = self.start(int(metadata["seed"]))
        state.strokes = Strokes.of(metadata["strokes"])
        state.identities.load(tensors["ids"].numpy(), int(metadata["given"]))
        state.carried.load(tensors, metadata["carried"])
        return state

    def obey(self, state: TrackState, controls: Controls) -> None:
        """Take note of pointer and camera; a reset or another image lets go of all tracks."""
        if controls.starts_anew:
            state.strokes.clear(None)
        state.strokes.clear(controls.clear_tracks)
        state.strokes.ask(controls.tracks)
        if controls.camera is not None:
            state.carried.motion = controls.camera

    def advance(self, state: TrackState, pictures: int) -> ToldTracks:
        """The points of the next chunk's `pictures`.

        A single picture is a stream's first: it shows the stream's image, in which nothing moved.
        """
        shown = [self._pulled(strokes) for strokes in state.strokes.follow(pictures)]
        points = np.stack([self._grid + pulled.moved for pulled in shown])
        reached = np.stack([pulled.reached for pulled in shown])
        visible = np.stack([pulled.pinned for pulled in shown])
        told = np.stack([pulled.nearest for pulled in shown])
        told[:, state.extra] = True
        if pictures > 1:
            held = np.logical_or.reduce(reached[:, state.extra], axis=0)
            anew = state.carried.renew(held)
            state.identities.renew(state.extra[anew].tolist())
            places, seen = state.carried.carry(pictures, held, fps=self._fps, aspect=self._aspect)
            points[:, state.extra] += np.where(held[:, None], 0.0, places - state.carried.grid)
            told[:, state.extra] &= seen
        points = np.clip(points, 0.0, 1.0).astype(np.float32)
        visible = told & (visible | is_away(points, self._grid))
        some = np.flatnonzero(visible.any(axis=0))
        return ToldTracks(
            torch.from_numpy(np.ascontiguousarray(points[:, some])),
            torch.from_numpy(np.ascontiguousarray(visible[:, some], dtype=np.float32)),
            torch.from_numpy(state.identities.ids[some]),
        )

    def _pulled(self, strokes: Mapping[int, Stroke]) -> _Pulled:
        handles = {_name(key): stroke.handle for key, stroke in strokes.items()}
        pins = frozenset(_name(key) for key, stroke in strokes.items() if stroke.pinned)
        moved, hold = pull(self._grid, handles, self._radius, pins)
        _, pinned = pull(self._grid, {name: handles[name] for name in pins}, self._radius)
        nearest = np.zeros(len(self._grid), np.bool_)
        for handle in handles.values():
            nearest[nearest_point(self._grid, handle.anchor)] = True
        return _Pulled(moved, hold[:, 0] > 0.0, pinned[:, 0] > 0.0, nearest)


@dataclass(frozen=True, slots=True)
class _Pulled:
    """What handles do to the grid's N points in one picture.

    How far they move them [N, 2]; which are in reach of any, and of a pin, and nearest to one, [N].
    """

    moved: Floats
    reached: Flags
    pinned: Flags
    nearest: Flags


def _name(key: int) -> str:
    return f"{key:05d}"
