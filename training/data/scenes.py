"""Three scenes of four moving things with exact tracks and flow to the reference picture."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollcast.models.pocket.collisions import push_apart
from training.data.assets import Bools, Floats
from training.data.flow_cells import average_cells
from training.data.portrait import COARSE, FINE, SIZE, SUPERSAMPLE, downsample, to_bytes
from training.data.sprites import SPRITE, SPRITE_RADIUS, draw_background, draw_sprite

_FRAME_HZ = 25
_MAX_STEP = 6.75


@dataclass(frozen=True)
class Thing:
    """A moving thing: how it looks, its radius and where it is at home, in px."""

    sprite: str
    word: str
    radius: float
    home: tuple[float, float]
    colour: str


@dataclass(frozen=True)
class SceneSpec:
    """A scene; later things lie over earlier ones."""

    name: str
    title: str
    things: tuple[Thing, ...]
    shadow: float
    """Darkness of the soft shadow under a thing."""
    words: dict[str, str]


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
SCENES: tuple[SceneSpec, ...] = (TOYS, SEA, SPACE)


@dataclass(frozen=True)
class SceneFrame:
    """One frame of a scene with its labels."""

    pixels: npt.NDArray[np.uint8]
    flow: Floats
    fine: Floats
    fine_ok: Bools
    tracks: Floats
    track_vis: Bools


class Scene:
    """Draws one scene at given positions and angles."""

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.background = draw_background(spec.name, SIZE * SUPERSAMPLE)
        self.sprites = [_shrink(draw_sprite(t.sprite), t.radius) for t in spec.things]
        self.home = np.array([t.home for t in spec.things], np.float32)
        self._reference, self._reference_ids = self._paint(self.home, np.zeros(len(self.home)))
        radius = np.array([t.radius for t in spec.things], np.float32)
        self._offsets = np.stack([radius * 0, radius * 0.45, radius * -0.4], 1)

    def reference_image(self) -> npt.NDArray[np.uint8]:
        """All things at home, as pixels [384,384,3]."""
        return to_bytes(self._reference)

    def plate_image(self) -> npt.NDArray[np.uint8]:
        """The scene without its things, as pixels [384,384,3]."""
        return to_bytes(self.background)

    def reference_tracks(self) -> Floats:
        """Three points [K,2] in px per thing in the reference picture."""
        return self._points(self.home, np.zeros(len(self.home)))

    def track_objects(self) -> npt.NDArray[np.int64]:
        """Index [K] of the thing each track point belongs to."""
        return np.repeat(np.arange(len(self.home)), 3)

    def render(self, positions: Floats, angles: Floats) -> SceneFrame:
        """Draw things at positions [N,2] px, turned by angles [N] radians (clockwise)."""
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
        )

    def _points(self, positions: Floats, angles: Floats) -> Floats:
        turn = np.asarray(angles)[:, None]
        x = positions[:, None, 0] + self._offsets * np.cos(turn)
        y = positions[:, None, 1] + self._offsets * np.sin(turn)
        return np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)

    def _seen(self, ids: npt.NDArray[np.int8], tracks: Floats) -> Bools:
        limit = SIZE * SUPERSAMPLE
        at = np.floor(tracks * SUPERSAMPLE).astype(int)
        inside = ((at >= 0) & (at < limit)).all(1)
        at = np.clip(at, 0, limit - 1)
        return inside & (ids[at[:, 1], at[:, 0]] == self.track_objects())

    def _paint(self, positions: Floats, angles: Floats) -> tuple[Floats, npt.NDArray[np.int8]]:
        image = self.background.copy()
        ids = np.full(image.shape[:2], -1, np.int8)
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
        return flow, state


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

    Things that meet push each other aside, as they do in a stream.
    """
    wanted = np.stack([_path(rng, thing, frames) for thing in spec.things], 1)
    positions = _with_pushes(wanted, np.array([thing.radius for thing in spec.things]))
    speed = np.gradient(positions[..., 0], axis=0) * _FRAME_HZ
    kernel = np.hanning(13) / np.hanning(13).sum()
    tilt = np.stack([np.convolve(np.pad(v, 6, mode="edge"), kernel, "valid") for v in speed.T], 1)
    return positions.astype(np.float32), (tilt * 0.0018).astype(np.float32)


def _with_pushes(wanted: Floats, radius: Floats) -> Floats:
    """Paths [T,N,2] that lead along the wanted ones as far as the others let them."""
    here = wanted[0]
    nobody = np.zeros(len(radius), bool)
    paths = []
    for goal in wanted:
        step = goal - here
        length = np.hypot(*step.T)[:, None]
        step *= np.minimum(1, _MAX_STEP / np.maximum(length, 1e-9))
        here = push_apart(here + step, radius, nobody)
        paths.append(here)
    return np.stack(paths)


def _path(rng: np.random.Generator, thing: Thing, frames: int) -> Floats:
    low, high = thing.radius + 3, SIZE - thing.radius - 3
    here = np.array(thing.home) if rng.random() < 0.6 else rng.uniform(low, high, 2)
    if rng.random() < 0.2:
        return np.repeat(here[None], frames, 0)
    points = [here]
    while len(points) < frames:
        if rng.random() < 0.4 or len(points) == 1:
            points += [here] * int(rng.integers(2, 26))
        target = rng.uniform(low, high, 2)
        peak = rng.uniform(22, 165)
        distance = float(np.hypot(*(target - here)))
        sudden = rng.random() < 0.4
        # Minimum jerk peaks at 1.875 times its mean speed; a sudden start runs at even speed.
        steps = max(3, int(distance * (1.0 if sudden else 1.875) / peak * _FRAME_HZ))
        t = np.arange(1, steps + 1) / steps
        way = t if sudden else t**3 * (10 - 15 * t + 6 * t * t)
        points += list(here + (target - here) * way[:, None])
        here = target
    return np.array(points[:frames])
