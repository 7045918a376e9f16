"""Scenes of four moving things with exact tracks and flow to the reference picture.

In one of them the camera pans: its background moves, and its things move in front of that. Places
of things are those in the picture; the view, the last of them, is where a point of the background
is.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rollcast.models.pocket.collisions import push_apart
from training.data.assets import Bools, Floats
from training.data.flow_cells import average_cells
from training.data.meadow import draw_meadow
from training.data.portrait import COARSE, FINE, SIZE, SUPERSAMPLE, downsample, to_bytes
from training.data.sprites import SPRITE, SPRITE_RADIUS, draw_background, draw_sprite

_FRAME_HZ = 25
_MAX_STEP = 6.75
_BEYOND = 32
"""How much of the world a scene with a view has on each side of the picture, in px."""


@dataclass(frozen=True)
class Thing:
    """A moving thing: how it looks, its radius and where it is at home, in px."""

    sprite: str
    word: str
    radius: float
    home: tuple[float, float]
    colour: str


@dataclass(frozen=True)
class View:
    """What a camera that pans sees: a point of the background, and how far it goes from home."""

    word: str
    radius: float
    home: tuple[float, float]
    pan: tuple[float, float]


@dataclass(frozen=True)
class SceneSpec:
    """A scene; later things lie over earlier ones, and all of them before the view."""

    name: str
    title: str
    things: tuple[Thing, ...]
    shadow: float
    """Darkness of the soft shadow under a thing."""
    words: dict[str, str]
    view: View | None = None

    @cached_property
    def movable(self) -> tuple[Thing | View, ...]:
        """All that has a place: the things, and the view."""
        return self.things if self.view is None else (*self.things, self.view)


TOYS = SceneSpec(
    "toys", "Toys on a table",
    (Thing("cube", "cube", 21.75, (51, 132), "blue"),
     Thing("star", "star", 21.75, (141, 51), "green"),
     Thing("duck", "duck", 21.75, (138, 138), "yellow"),
     Thing("ball", "ball", 19.5, (51, 51), "red")),
    0.42, {"place": "table", "background": "wood"},
)  # fmt: skip
SEA = SceneSpec(
    "sea", "Under the sea",
    (Thing("boat", "boat", 22.5, (138, 48), "navy"),
     Thing("crab", "crab", 20.25, (54, 141), "crimson"),
     Thing("beach ball", "ball", 18.75, (141, 135), "purple"),
     Thing("fish", "fish", 21.75, (51, 57), "orange")),
    0.20, {"place": "sea", "background": "water"},
)  # fmt: skip
SPACE = SceneSpec(
    "space", "Out in space",
    (Thing("rocket", "rocket", 22.5, (138, 50), "white"),
     Thing("planet", "planet", 22.5, (52, 134), "magenta"),
     Thing("robot", "robot", 21, (138, 138), "silver"),
     Thing("saucer", "saucer", 21, (52, 52), "lime")),
    0.12, {"place": "space", "background": "stars"},
)  # fmt: skip
MEADOW = SceneSpec(
    "meadow", "A walk in the meadow",
    (Thing("balloon", "balloon", 22.5, (50, 48), "red"),
     Thing("sheep", "sheep", 21, (52, 142), "white"),
     Thing("kite", "kite", 21.75, (142, 50), "pink"),
     Thing("butterfly", "butterfly", 19.5, (142, 140), "violet")),
    0.08, {"place": "field", "background": "grass"},
    View("view", 18, (96, 98), (24, 10)),
)  # fmt: skip
SCENES: tuple[SceneSpec, ...] = (TOYS, SEA, SPACE, MEADOW)


@dataclass(frozen=True)
class SceneFrame:
    """One frame of a scene with its labels.

    `open_flow`, `open_fine` and `open_fine_ok` are there if the camera pans: flow to the plate.
    """

    pixels: npt.NDArray[np.uint8]
    flow: Floats
    fine: Floats
    fine_ok: Bools
    tracks: Floats
    track_vis: Bools
    open_flow: Floats | None = None
    open_fine: Floats | None = None
    open_fine_ok: Bools | None = None


class Scene:
    """Draws one scene at given positions and angles of its things and, if it has one, its view."""

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.background = self._still_background()
        self.sprites = [_shrink(draw_sprite(t.sprite), t.radius) for t in spec.things]
        self.home = np.array([t.home for t in spec.movable], np.float32)
        self._reference, self._reference_ids = self._paint(self.home, np.zeros(len(self.home)))
        radius = np.array([t.radius for t in spec.movable], np.float32)
        self._offsets = np.stack([radius * 0, radius * 0.45, radius * -0.4], 1)

    def reference_image(self) -> npt.NDArray[np.uint8]:
        """All things at home, as pixels [384,384,3]."""
        return to_bytes(self._reference)

    def plate_image(self) -> npt.NDArray[np.uint8]:
        """The scene without its things, as pixels [384,384,3]."""
        return to_bytes(self.background)

    def reference_tracks(self) -> Floats:
        """Three points [K,2] in px per thing, and of the view, in the reference picture."""
        return self._points(self.home, np.zeros(len(self.home)))

    def track_objects(self) -> npt.NDArray[np.int64]:
        """Index [K] of the thing each track point belongs to."""
        return np.repeat(np.arange(len(self.home)), 3)

    def render(self, positions: Floats, angles: Floats) -> SceneFrame:
        """Draw things at positions [N,2] px, turned by angles [N] radians (clockwise).

        The view is the last of them if the scene has one; it never turns.
        """
        image, ids = self._paint(positions, angles)
        flow, state = self._flow(ids, positions, angles)
        coarse, _ = average_cells(flow, state, COARSE, background_weight=0.3)
        fine, ok = average_cells(flow, state, FINE, background_weight=1.0)
        tracks = self._points(positions, angles)
        return SceneFrame(
            downsample(image),
            coarse.transpose(2, 0, 1),
            fine,
            ok,
            tracks,
            self._seen(ids, tracks),
            *self._plate_flow(ids, positions),
        )

    def _points(self, positions: Floats, angles: Floats) -> Floats:
        turn = np.asarray(angles)[:, None]
        x = positions[:, None, 0] + self._offsets * np.cos(turn)
        y = positions[:, None, 1] + self._offsets * np.sin(turn)
        return np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)

    def _seen(self, ids: npt.NDArray[np.int8], tracks: Floats) -> Bools:
        limit = SIZE * SUPERSAMPLE
        at = np.floor(tracks * SUPERSAMPLE).astype(int)
        inside = _within(at, limit)
        at = np.clip(at, 0, limit - 1)
        return inside & (ids[at[:, 1], at[:, 0]] == self.track_objects())

    def _still_background(self) -> Floats:
        if self.spec.view is None:
            return draw_background(self.spec.name, SIZE * SUPERSAMPLE)
        self._world = draw_meadow((SIZE + 2 * _BEYOND) * SUPERSAMPLE)
        return self._panned(np.zeros(2))

    def _panned(self, offset: Floats) -> Floats:
        """The background moved by `offset` [2] px, cut from the world around it."""
        size = SIZE * SUPERSAMPLE
        corner = (_BEYOND - np.asarray(offset, float)) * SUPERSAMPLE
        first = np.floor(corner).astype(int)
        (fx, fy), (x, y) = corner - first, first
        part = self._world[y : y + size + 1, x : x + size + 1]
        rows = part[:-1] * (1 - fy) + part[1:] * fy
        return (rows[:, :-1] * (1 - fx) + rows[:, 1:] * fx).astype(np.float32)

    def _paint(self, positions: Floats, angles: Floats) -> tuple[Floats, npt.NDArray[np.int8]]:
        if self.spec.view is None:
            image, behind = self.background.copy(), -1
        else:
            image, behind = self._panned(positions[-1] - self.home[-1]), len(self.sprites)
        ids = np.full(image.shape[:2], behind, np.int8)
        for k, sprite in enumerate(self.sprites):
            self._shadow(image, positions[k], k)
            _stamp(image, ids, sprite, positions[k] * SUPERSAMPLE, float(angles[k]), k)
        return image, ids

    def _shadow(self, image: Floats, position: Floats, k: int) -> None:
        radius = self.spec.things[k].radius * SUPERSAMPLE
        cx, cy = (
            position[0] * SUPERSAMPLE + radius * 0.16,
            position[1] * SUPERSAMPLE + radius * 0.30,
        )
        rows, cols = _window(cx, cy, radius * 1.6, image.shape[0])
        y, x = np.mgrid[rows, cols].astype(np.float32)
        away = np.hypot(x + 0.5 - cx, (y + 0.5 - cy) * 1.08) / radius
        dark = 1 / (1 + np.exp((away - 0.95) * 9))
        image[rows, cols] *= 1 - self.spec.shadow * dark[..., None]

    def _flow(
        self, ids: npt.NDArray[np.int8], positions: Floats, angles: Floats
    ) -> tuple[Floats, npt.NDArray[np.uint8]]:
        flow = np.zeros((*ids.shape, 2), np.float32)
        state = np.where((ids < 0) & (self._reference_ids < 0), 2, 0).astype(np.uint8)
        view = len(self.sprites)
        for k in range(len(self.home)):
            rows, cols = np.nonzero(ids == k)
            here = np.stack([cols + 0.5, rows + 0.5], -1) / SUPERSAMPLE
            c, s = np.cos(-angles[k]), np.sin(-angles[k])
            local = here - positions[k]
            turned = np.stack(
                [c * local[:, 0] - s * local[:, 1], s * local[:, 0] + c * local[:, 1]], -1
            )
            flow[rows, cols] = turned + self.home[k] - here
            state[rows, cols] = 1
            if k == view:
                # what the reference hides behind a thing, or beyond its borders, is unknown
                at = np.floor((flow[rows, cols] + here) * SUPERSAMPLE).astype(int)
                inside = _within(at, ids.shape[0])
                at = np.clip(at, 0, ids.shape[0] - 1)
                shown = inside & (self._reference_ids[at[:, 1], at[:, 0]] == view)
                state[rows, cols] = shown
        return flow, state

    def _plate_flow(
        self, ids: npt.NDArray[np.int8], positions: Floats
    ) -> tuple[Floats | None, Floats | None, Bools | None]:
        """Coarse and fine flow to the plate, and where it shows what the frame shows."""
        if self.spec.view is None:
            return None, None, None
        way = (self.home[-1] - positions[-1]).astype(np.float32)
        line = (np.arange(ids.shape[0]) + 0.5) / SUPERSAMPLE
        inside = [(line + by > 0) & (line + by < SIZE) for by in way]
        known = (ids == len(self.sprites)) & inside[1][:, None] & inside[0][None]
        fine = np.broadcast_to(way, (FINE, FINE, 2))
        coarse = np.broadcast_to(way[:, None, None], (2, COARSE, COARSE))
        step = ids.shape[0] // FINE
        return coarse, fine, known.reshape(FINE, step, FINE, step).mean((1, 3)) >= 0.5


def _within(at: npt.NDArray[np.int_], limit: int) -> Bools:
    """Which of these places [N,2] are on a grid of limit x limit."""
    return np.asarray((at.min(1) >= 0) & (at.max(1) < limit))


def _shrink(sprite: Floats, radius: float) -> Floats:
    """Sprite scaled so that its radius is `radius` px on the supersampled grid, with a margin."""
    scale = radius * SUPERSAMPLE / SPRITE_RADIUS
    size = int(np.ceil(SPRITE * scale / 2) * 2)
    # Area averaging in two steps: blurring by sampling a fine grid of the large sprite.
    fine = 4
    at = ((np.arange(size * fine) + 0.5) / fine - size / 2) / scale + SPRITE / 2
    index = np.clip(at.astype(int), 0, SPRITE - 1)
    big = sprite[np.ix_(index, index)]
    return np.ascontiguousarray(big.reshape(size, fine, size, fine, 4).mean((1, 3)), np.float32)


def _window(cx: float, cy: float, reach: float, size: int) -> tuple[slice, slice]:
    r0, r1 = int(np.clip(cy - reach, 0, size)), int(np.clip(cy + reach + 1, 0, size))
    c0, c1 = int(np.clip(cx - reach, 0, size)), int(np.clip(cx + reach + 1, 0, size))
    return slice(r0, r1), slice(c0, c1)


def _stamp(
    image: Floats, ids: npt.NDArray[np.int8], sprite: Floats, centre: Floats, angle: float, k: int
) -> None:
    """Lay a premultiplied sprite, rotated, over the image with bilinear sampling."""
    half = sprite.shape[0] / 2
    rows, cols = _window(float(centre[0]), float(centre[1]), half * 1.2, image.shape[0])
    y, x = np.mgrid[rows, cols].astype(np.float32)
    if y.size == 0:
        return
    dx, dy = x + 0.5 - centre[0], y + 0.5 - centre[1]
    c, s = np.cos(angle), np.sin(angle)
    u, v = c * dx + s * dy + half - 0.5, -s * dx + c * dy + half - 0.5
    inside = (u >= 0) & (v >= 0) & (u < sprite.shape[1] - 1) & (v < sprite.shape[0] - 1)
    i, j = (
        np.where(inside, np.floor(v), 0).astype(int),
        np.where(inside, np.floor(u), 0).astype(int),
    )
    fv, fu = (v - i)[..., None], (u - j)[..., None]
    upper = sprite[i, j] * (1 - fu) + sprite[i, j + 1] * fu
    lower = sprite[i + 1, j] * (1 - fu) + sprite[i + 1, j + 1] * fu
    colour = (upper * (1 - fv) + lower * fv) * inside[..., None]
    image[rows, cols] = image[rows, cols] * (1 - colour[..., 3:]) + colour[..., :3]
    ids[rows, cols][colour[..., 3] > 0.5] = k


def wander(rng: np.random.Generator, spec: SceneSpec, frames: int) -> tuple[Floats, Floats]:
    """Random paths [T,N,2] px, angles [T,N]: rests, sudden starts, up to 165 px/s, small tilt.

    Things that meet push each other aside, as they do in a stream. Where there is a view, the
    things wander in its world, which the picture shows a part of, and come along with its pans.
    """
    reach = (0.0, 0.0) if spec.view is None else spec.view.pan
    wanted = np.stack([_path(rng, thing, frames, reach) for thing in spec.things], 1)
    radius = np.array([thing.radius for thing in spec.things])
    positions = _with_pushes(wanted, radius, reach)
    speed = np.gradient(positions[..., 0], axis=0) * _FRAME_HZ
    kernel = np.hanning(13) / np.hanning(13).sum()
    tilt = np.stack([np.convolve(np.pad(v, 6, mode="edge"), kernel, "valid") for v in speed.T], 1)
    if spec.view is not None:
        view = _pan_path(rng, spec.view, frames)
        positions = np.concatenate([positions + view - spec.view.home, view], 1)
        tilt = np.pad(tilt, ((0, 0), (0, 1)))
    return positions.astype(np.float32), (tilt * 0.0018).astype(np.float32)


def _with_pushes(wanted: Floats, radius: Floats, reach: tuple[float, float]) -> Floats:
    """Paths [T,N,2] that lead along the wanted ones as far as the others let them."""
    here = wanted[0]
    nobody = np.zeros(len(radius), bool)
    paths = []
    for goal in wanted:
        step = goal - here
        length = np.hypot(*step.T)[:, None]
        step *= np.minimum(1, _MAX_STEP / np.maximum(length, 1e-9))
        here = push_apart(here + step, radius, nobody, reach)
        paths.append(here)
    return np.stack(paths)


def _path(
    rng: np.random.Generator, thing: Thing, frames: int, reach: tuple[float, float]
) -> Floats:
    """Where a thing wants to be [T,2], up to `reach` px outside of the picture."""
    low = thing.radius + 3 - np.array(reach)
    high = SIZE - low
    here = np.array(thing.home) if rng.random() < 0.6 else rng.uniform(low, high, 2)
    if rng.random() < 0.2:
        return np.repeat(here[None], frames, 0)
    return _travel(rng, here, (low, high), (22, 165), frames)


def _pan_path(rng: np.random.Generator, view: View, frames: int) -> Floats:
    """Where the view is [T,1,2]: like a thing, but slower, and seldom still for a whole clip."""
    home, pan = np.array(view.home, float), np.array(view.pan)
    low, high = home - pan, home + pan
    here = home if rng.random() < 0.5 else rng.uniform(low, high, 2)
    if rng.random() < 0.1:
        return np.repeat(here[None], frames, 0)[:, None]
    return _travel(rng, here, (low, high), (12, 165), frames)[:, None]


def _travel(
    rng: np.random.Generator,
    here: Floats,
    area: tuple[Floats, Floats],
    peaks: tuple[float, float],
    frames: int,
) -> Floats:
    """A path [T,2] of rests and ways within `area`; `peaks` px/s are its lowest and highest."""
    points = [here]
    while len(points) < frames:
        if rng.random() < 0.4 or len(points) == 1:
            points += [here] * int(rng.integers(2, 26))
        target = rng.uniform(*area, 2)
        peak = rng.uniform(*peaks)
        distance = float(np.hypot(*(target - here)))
        sudden = rng.random() < 0.4
        # Minimum jerk peaks at 1.875 times its mean speed; a sudden start runs at even speed.
        steps = max(3, int(distance * (1.0 if sudden else 1.875) / peak * _FRAME_HZ))
        t = np.arange(1, steps + 1) / steps
        way = t if sudden else t**3 * (10 - 15 * t + 6 * t * t)
        points += list(here + (target - here) * way[:, None])
        here = target
    return np.array(points[:frames])
