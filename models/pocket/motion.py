"""Pointer events -> where every movable thing should be, frame by frame, and the track map of it.

In a scene a track moves an object; on an avatar it turns the head so that the point under the
finger goes with it. Both are eased, so that a jump of the pointer never tears a chunk. What is in
the way of a dragged thing is pushed aside, and stays there. A scene whose camera pans has a view
among its objects: where a point of the background is. Who takes hold of no thing holds the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract import TrackEvent
from .autoencoder import FLOW_SIZE, FRAME_SIZE
from .collisions import inside_by, push_apart
from .idle import SmoothNoise, seeded_rng

CELL = FRAME_SIZE // FLOW_SIZE
TRACK_CHANNELS = 5
# easing of a dragged object: share of the way per frame, and pixels per frame at most
_EASE = 0.35
_MAX_SPEED = 6.75
_DRIFT = 1.8  # px, standard deviation of an untouched object's idle drift
_DRIFT_TIME = 20.0  # frames
_REACH = 1.35  # radii around an object's centre in which a press takes it
# px outside of an object's radius: still over it, and far enough that its edge is drawn elsewhere
_OVER, _EDGE_REACH = 3.0, 16.5
_MAX_YAW = 0.42
_MAX_PITCH = 0.24


@dataclass(frozen=True, slots=True)
class SceneObject:
    """A movable object: name, home position and radius in pixels of the reference picture.

    A view, the last object of its scene, has a `pan`: how far it may be from home, px (x, y).
    """

    name: str
    home: tuple[float, float]
    radius: float
    pan: tuple[float, float] | None = None


def pans(objects: Sequence[SceneObject]) -> bool:
    """Whether the camera of a scene of these objects can be moved."""
    return bool(objects) and objects[-1].pan is not None


def track_map(current: np.ndarray, reference: np.ndarray, scale: float) -> Tensor:
    """Tracks drawn on the flow grid: [T, 5, 16, 16] with (dx, dy, ref_x, ref_y, visible).

    `current` px [T, K, 2], NaN where a point is not seen; `reference` px [K, 2]. The displacement
    back to the reference picture, in units of `scale` px, is what the motion latent of that cell
    should be; the reference position says which thing it is. Later points overwrite earlier ones.
    """
    frames, points, _ = current.shape
    grid = np.zeros((frames, TRACK_CHANNELS, FLOW_SIZE, FLOW_SIZE), np.float32)
    for t in range(frames):
        for k in range(points):
            x, y = current[t, k]
            if not (0 <= x < FRAME_SIZE and 0 <= y < FRAME_SIZE):
                continue
            moved = (reference[k] - current[t, k]) / scale
            place = reference[k] / (FRAME_SIZE / 2) - 1
            grid[t, :, int(y) // CELL, int(x) // CELL] = (*moved, *place, 1.0)
    return torch.from_numpy(grid)


def object_tracks(current: np.ndarray, objects: Sequence[SceneObject], scale: float) -> Tensor:
    """`track_map` of the centres of objects; a view is behind all others."""
    home = np.array([thing.home for thing in objects]).reshape(-1, 2)
    order = sorted(range(len(objects)), key=lambda k: objects[k].pan is None)
    return track_map(current[:, order], home[order], scale)


def camera_way(current: np.ndarray, objects: Sequence[SceneObject]) -> Tensor:
    """Backward flow [T, 2], px, of the background; `current` px [T, K, 2] are all centres."""
    way = np.zeros((len(current), 2))
    if pans(objects):
        way = objects[-1].home - current[:, -1]
    return torch.from_numpy(way.astype(np.float32))


def motion_draft(current: np.ndarray, objects: Sequence[SceneObject]) -> Tensor:
    """Coarse backward flow [T, 2, 16, 16], px, of objects whose centres are `current` px [T, K, 2].

    A cell goes with the front-most object over it, or else with the one whose edge is nearest,
    if that is near enough for its edge to be drawn from this cell; elsewhere with the background.
    """
    way = camera_way(current, objects)
    objects = [thing for thing in objects if thing.pan is None]
    current = current[:, : len(objects)]
    line = (np.arange(FLOW_SIZE) + 0.5) * CELL
    home = np.array([thing.home for thing in objects])
    radius = np.array([thing.radius for thing in objects])[:, None, None]
    dx = line[None, None, None, :] - current[:, :, 0, None, None]
    dy = line[None, None, :, None] - current[:, :, 1, None, None]
    from_edge = np.hypot(dx, dy) - radius  # [T, K, 16, 16]
    order = np.arange(len(objects))[:, None, None]
    # over a cell the later object wins, whatever the distances
    rank = np.where(from_edge < _OVER, -1000.0 - order, from_edge)
    owner = rank.argmin(1)
    near = np.take_along_axis(from_edge, owner[:, None], 1) < _EDGE_REACH
    moved = home - current
    frames = np.arange(len(current))[:, None, None]
    flow = moved[frames, owner].transpose(0, 3, 1, 2).astype(np.float32)
    return torch.where(torch.from_numpy(near), torch.from_numpy(flow), way[..., None, None])


@dataclass(slots=True)
class Grab:
    """One finger's hold: which object (-1: the head), where it pressed, where it is now (px)."""

    thing: int
    pressed: tuple[float, float]
    now: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)
    pinned: bool = False


@dataclass(slots=True)
class HeadDrag:
    """Fingers on an avatar. `gain` is the pixels that a face point moves per radian (x, y)."""

    gain: tuple[float, float]
    grabs: dict[int, Grab] = field(default_factory=dict)

    def receive(self, event: TrackEvent) -> None:
        """Take one pointer event."""
        point = (event.x * FRAME_SIZE, event.y * FRAME_SIZE)
        grab = self.grabs.get(event.id)
        if event.phase in ("down", "anchor") and grab is None:
            self.grabs[event.id] = Grab(-1, point, point, pinned=event.phase == "anchor")
        elif grab is not None and event.phase == "up":
            if not grab.pinned:
                del self.grabs[event.id]
        elif grab is not None:
            grab.now = point
            grab.pinned = grab.pinned or event.phase == "anchor"

    def release(self, ids: Sequence[int] | None) -> None:
        """Let go of some fingers, or of all when None."""
        for track in list(self.grabs) if ids is None else ids:
            self.grabs.pop(track, None)

    def target(self) -> tuple[float, float] | None:
        """The yaw and pitch that the fingers ask for, radians; None when nobody drags."""
        if not self.grabs:
            return None
        moved = np.mean([np.subtract(g.now, g.pressed) for g in self.grabs.values()], axis=0)
        yaw = float(np.clip(moved[0] / self.gain[0], -_MAX_YAW, _MAX_YAW))
        pitch = float(np.clip(moved[1] / self.gain[1], -_MAX_PITCH, _MAX_PITCH))
        return yaw, pitch

    def save(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return {"grabs": _save_grabs(self.grabs)}

    @classmethod
    def load(cls, saved: dict[str, Any], gain: tuple[float, float]) -> HeadDrag:
        """The inverse of `save`."""
        return cls(gain, _load_grabs(saved["grabs"]))


@dataclass(slots=True)
class SceneMotion:
    """The objects of one scene: where they are, where they are going, who holds them.

    `position` and `rest` px are places in the world, which a camera at home sees as they are; that
    of a view is where its point of the background is seen.
    """

    objects: tuple[SceneObject, ...]
    rng: np.random.Generator
    position: np.ndarray
    rest: np.ndarray
    pinned: np.ndarray
    drift: SmoothNoise
    grabs: dict[int, Grab] = field(default_factory=dict)

    @classmethod
    def seeded(cls, objects: Sequence[SceneObject], seed: int) -> SceneMotion:
        home = np.array([thing.home for thing in objects], float)
        pinned = np.zeros(len(objects), bool)
        drift = SmoothNoise.zeros(2 * len(objects))
        return cls(tuple(objects), seeded_rng(seed), home.copy(), home.copy(), pinned, drift)

    @property
    def _view(self) -> int | None:
        """The index of the view, if there is one."""
        return len(self.objects) - 1 if pans(self.objects) else None

    @property
    def _things(self) -> range:
        """The indices of all objects but the view."""
        return range(len(self.objects) if self._view is None else self._view)

    @property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest places [K, 2] px that objects may have."""
        low = inside_by(self._radius, self._pan)
        high = FRAME_SIZE - low
        if self._view is not None:
            home = np.array(self.objects[-1].home)
            low[-1], high[-1] = home - self._pan, home + self._pan
        return low, high

    @property
    def _radius(self) -> np.ndarray:
        return np.array([thing.radius for thing in self.objects])

    @property
    def _pan(self) -> tuple[float, float]:
        """How far the camera may go, px."""
        return self.objects[-1].pan or (0.0, 0.0)

    @property
    def _shift(self) -> np.ndarray:
        """How far objects are seen from their place in the world [K, 2] px."""
        shift = np.zeros_like(self.position)
        if self._view is not None:
            shift[: self._view] = self.position[-1] - self.objects[-1].home
        return shift

    def receive(self, event: TrackEvent) -> None:
        """Take one pointer event; a press on nothing holds the view, or else nothing."""
        point = (event.x * FRAME_SIZE, event.y * FRAME_SIZE)
        grab = self.grabs.get(event.id)
        if event.phase in ("down", "anchor"):
            grab = self._press(event.id, point) if grab is None else grab
            if grab is not None and event.phase == "anchor":
                self.pinned[grab.thing] = True
        if grab is None:
            return
        grab.now = point
        if event.phase == "up":
            self._rest_at(grab)
            del self.grabs[event.id]

    def _press(self, track: int, point: tuple[float, float]) -> Grab | None:
        seen = self.position + self._shift
        distance = np.hypot(*(seen - point).T)
        reach = np.array([_REACH * thing.radius for thing in self.objects])
        # the last object is drawn in front, the view behind all
        under = [k for k in self._things if distance[k] < reach[k]]
        if under:
            thing = min(under, key=lambda k: (distance[k] / reach[k] > 0.75, -k))
        elif self._view is not None:
            thing = self._view
        else:
            return None
        offset = seen[thing] - point
        self.grabs[track] = Grab(thing, point, point, (float(offset[0]), float(offset[1])))
        return self.grabs[track]

    def _rest_at(self, grab: Grab) -> None:
        self.rest[grab.thing] = self._wanted(grab)

    def _wanted(self, grab: Grab) -> np.ndarray:
        goal = np.add(grab.now, grab.offset) - self._shift[grab.thing]
        low, high = self._bounds
        return np.clip(goal, low[grab.thing], high[grab.thing])

    def release(self, ids: Sequence[int] | None) -> None:
        """Let go of some fingers where they are; None: of all, unpin and send everything home."""
        for track in list(self.grabs) if ids is None else ids:
            grab = self.grabs.pop(track, None)
            if grab is not None:
                self._rest_at(grab)
        if ids is None:
            self.pinned[:] = False
            self.rest = np.array([thing.home for thing in self.objects], float)

    def step(self) -> np.ndarray:
        """Advance one frame: where objects are seen, px [K, 2]."""
        noise = self.drift.step(self.rng, np.full(2 * len(self.objects), _DRIFT_TIME))
        goal = self.rest + _DRIFT * noise.reshape(-1, 2) * ~self.pinned[:, None]
        for grab in self.grabs.values():
            goal[grab.thing] = self._wanted(grab)
        if self._view is not None:
            goal[-1] = np.clip(goal[-1], *(bound[-1] for bound in self._bounds))
        free = self.position + _limited(_EASE * (goal - self.position))
        held = np.zeros(len(self.objects), bool)
        held[[grab.thing for grab in self.grabs.values()]] = True
        things = slice(len(self._things))
        aside = free.copy()
        aside[things] = push_apart(
            free[things], self._radius[things], (held | self.pinned)[things], self._pan
        )
        pushed = _limited(aside - self.position)
        self.rest += self.position + pushed - free
        self.position = self.position + pushed
        return self.position + self._shift

    def save(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return {
            "rng": self.rng.bit_generator.state,
            "position": self.position.tolist(),
            "rest": self.rest.tolist(),
            "pinned": self.pinned.tolist(),
            "drift": [self.drift.fast.tolist(), self.drift.slow.tolist()],
            "grabs": _save_grabs(self.grabs),
        }

    @classmethod
    def load(cls, saved: dict[str, Any], objects: Sequence[SceneObject]) -> SceneMotion:
        """The inverse of `save`."""
        return cls(
            tuple(objects),
            seeded_rng(0, saved["rng"]),
            np.array(saved["position"]),
            np.array(saved["rest"]),
            np.array(saved["pinned"], bool),
            SmoothNoise(*(np.array(values) for values in saved["drift"])),
            _load_grabs(saved["grabs"]),
        )


def _limited(move: np.ndarray) -> np.ndarray:
    """Moves [K, 2] of one frame, none faster than things may be."""
    length = np.hypot(*move.T)[:, None]
    return move * np.minimum(1, _MAX_SPEED / np.maximum(length, 1e-9))


def _save_grabs(grabs: dict[int, Grab]) -> dict[str, Any]:
    return {str(k): [g.thing, g.pressed, g.now, g.offset, g.pinned] for k, g in grabs.items()}


def _load_grabs(saved: dict[str, Any]) -> dict[int, Grab]:
    return {
        int(k): Grab(thing, tuple(pressed), tuple(now), tuple(offset), pinned)
        for k, (thing, pressed, now, offset, pinned) in saved.items()
    }
