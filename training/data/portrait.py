"""A talking head of one look: from weights and pose to pixels, flow and tracks."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from rollcast.models.pocket.looks import GUIDE
from training.data.assets import Bools, Floats, HeadAssets, Ints
from training.data.backgrounds import paint_background
from training.data.flow_cells import average_cells
from training.data.head import FACE_UNITS, HeadMesh, build_head
from training.data.identities import Identity, Outfit
from training.data.rasteriser import (
    Shading,
    backward_flow,
    project,
    rasterise,
    shade,
    vertex_normals,
)
from training.data.skin import BOTTOM_Y, HEIGHT, paint_skin

SIZE = 192
"""Width and height of a frame in pixels."""
SUPERSAMPLE = 2
COARSE, FINE = 16, 96
"""Cells across the coarse and the fine flow."""
_OPEN = {
    "jawOpen": 0.62, "mouthLowerDownLeft": 0.35, "mouthLowerDownRight": 0.35,
    "mouthUpperUpLeft": 0.4, "mouthUpperUpRight": 0.4, "mouthStretchLeft": 0.25,
    "mouthStretchRight": 0.25, "eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0,
}  # fmt: skip
"""The second picture of a look: what the first hides, teeth, tongue and lids."""
_FRIENDLY = {"mouthSmileLeft": 0.10, "mouthSmileRight": 0.10}
"""The base mesh looks glum at rest."""
_PIVOT = np.array([0.0, 6.35, 0.25], np.float32)


@dataclass(frozen=True)
class Frame:
    """One rendered frame with its labels."""

    pixels: npt.NDArray[np.uint8]
    flow: Floats
    """Coarse backward flow [2,16,16] to the reference picture, px."""
    fine: Floats
    fine_ok: Bools
    open_flow: Floats
    """As `flow` and `fine`, to the picture with open mouth and closed eyes."""
    open_fine: Floats
    open_fine_ok: Bools
    tracks: Floats
    track_vis: Bools
    boxes: Floats
    lip_gap: float


@dataclass(frozen=True)
class _Raster:
    positions: Floats
    screen: Floats
    depth: Floats
    ids: Ints
    bary: Floats


class Portrait:
    """Renders one look of one identity."""

    def __init__(
        self, assets: HeadAssets, who: Identity, look: Outfit, mesh: HeadMesh | None = None
    ) -> None:
        self.who, self.look = who, look
        self.mesh = mesh or build_head(assets, who)
        self.texture = paint_skin(who, self.mesh.eyes, self.mesh.mouth, seed=11)
        self.background = paint_background(look.background, SIZE * SUPERSAMPLE, seed=5)
        self.params = _params(self.mesh, who, look)
        tilt = who.photograph.tilt if who.photograph else (0.0, 0.0, 0.0)
        # the eyes of a photograph look at the camera
        self.tilt = np.array([*tilt, -0.9 * tilt[0], -0.9 * tilt[1]], np.float32)
        self.shift = np.zeros(3, np.float32)
        if who.photograph:
            self._place()
        self.reference = self._raster({}, np.zeros(5, np.float32))
        self.opened = self._raster(_OPEN, np.zeros(5, np.float32))

    def reference_image(self) -> npt.NDArray[np.uint8]:
        """The neutral face, pose 0, at twice the size of a frame [384,384,3]."""
        return to_bytes(self._colours(self.reference, np.zeros(5, np.float32)))

    def open_image(self) -> npt.NDArray[np.uint8]:
        """As `reference_image`, with open mouth and closed eyes."""
        return to_bytes(self._colours(self.opened, np.zeros(5, np.float32)))

    def photograph(self) -> npt.NDArray[np.uint8]:
        """The picture that somebody brings, twice the size of a frame [384,384,3], as taken."""
        taken = self.who.photograph
        if taken is None:
            return self.reference_image()
        still = np.zeros(5, np.float32)
        pixels = self._colours(self._raster(taken.worn, still), still) * 255
        rng = np.random.default_rng(list(self.who.name.encode()))
        noisy = Image.fromarray(to_bytes((pixels + rng.normal(0, taken.grain, pixels.shape)) / 255))
        kept = io.BytesIO()
        noisy.save(kept, "JPEG", quality=taken.quality)
        return np.asarray(Image.open(kept).convert("RGB"))

    def _place(self) -> None:
        """Bring eyes and mouth to where a picture that is brought has them."""
        points = np.stack([*self.mesh.eyes[::-1], self.mesh.mouth]).astype(np.float32)
        turned = (points - _PIVOT) @ rotation(self.tilt).T + _PIVOT
        wanted = np.array([*GUIDE.eyes, GUIDE.mouth]) - 0.5
        wanted = wanted * np.array([1, -1])
        for _ in range(2):
            zoom = self.params.scale * self.params.camera_z / (self.params.camera_z - turned[:, 2])
            seen = turned[:, :2] + self.shift[:2] - np.array([0, self.params.centre_y])
            seen = seen * zoom[:, None]
            around, goal = seen - seen.mean(0), wanted - wanted.mean(0)
            self.params.set(
                scale=self.params.scale * float((around * goal).sum() / (around**2).sum())
            )
            zoom = self.params.scale * self.params.camera_z / (self.params.camera_z - turned[:, 2])
            aside = wanted / zoom[:, None] - turned[:, :2] + np.array([0, self.params.centre_y])
            self.shift[:2] = aside.mean(0)

    def plate_image(self) -> npt.NDArray[np.uint8]:
        """What is behind the person, at twice the size of a frame [384,384,3]."""
        return to_bytes(self.background)

    def reference_tracks(self) -> Floats:
        """Positions [K,2] in px of the trackable points in the reference image."""
        return (self.reference.screen[self.mesh.track_points, :2] / SUPERSAMPLE).astype(np.float32)

    def render(self, weights: dict[str, float], pose: Floats) -> Frame:
        """Render one frame.

        weights: ARKit face unit -> 0..1; pose [5]: yaw, pitch, roll, gaze x, gaze y (radians).
        """
        raster = self._raster(weights, pose)
        tracks, seen = self._tracks(raster)
        return Frame(
            downsample(self._colours(raster, pose)), *self._flows(raster, self.reference),
            *self._flows(raster, self.opened), tracks, seen,
            self._boxes(pose), self._lip_gap(weights),
        )  # fmt: skip

    def picture(self, weights: dict[str, float], pose: Floats) -> npt.NDArray[np.uint8]:
        """The pixels of `render` without its labels, in half the time."""
        return downsample(self._colours(self._raster(weights, pose), pose))

    def large_picture(self, weights: dict[str, float], pose: Floats) -> npt.NDArray[np.uint8]:
        """The same at twice the size of a frame [384,384,3], its edges as hard as drawn."""
        return to_bytes(self._colours(self._raster(weights, pose), pose))

    def way(self, raster: _Raster, to: _Raster) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """Flow from one raster to another, as `backward_flow` gives it."""
        return backward_flow(
            SUPERSAMPLE, self.mesh.faces, self.mesh.parts, raster.ids, raster.bary,
            to.screen, to.depth, to.ids,
        )  # fmt: skip

    def _flows(self, raster: _Raster, to: _Raster) -> tuple[Floats, Floats, Bools]:
        flow, state = self.way(raster, to)
        coarse, _ = average_cells(flow, state, COARSE, background_weight=0.3)
        fine, ok = average_cells(flow, state, FINE, background_weight=1.0)
        return coarse.transpose(2, 0, 1), fine, ok

    def _raster(self, weights: dict[str, float], pose: Floats) -> _Raster:
        shaped = self._pose(self._deform(weights), pose)
        size = SIZE * SUPERSAMPLE
        screen = project(shaped, size, self.params)
        mesh = self.mesh
        depth, ids, bary = rasterise(
            mesh.faces, mesh.parts, mesh.attributes, screen, size, self.params
        )
        return _Raster(shaped, screen, depth, ids, bary)

    def _deform(self, weights: dict[str, float]) -> Floats:
        moved = self.mesh.positions.copy()
        for name, weight in [*weights.items(), *self.who.rest.items(), *_FRIENDLY.items()]:
            if abs(weight) > 1e-4:
                moved += np.float32(weight) * self.mesh.units[FACE_UNITS.index(name)]
        return moved

    def _pose(self, positions: Floats, pose: Floats) -> Floats:
        turned = (positions - _PIVOT) @ rotation(pose + self.tilt).T + _PIVOT
        mixed = positions + self.mesh.turning[:, None] * (turned - positions) + self.shift
        return np.ascontiguousarray(mixed, np.float32)

    def _colours(self, raster: _Raster, pose: Floats) -> Floats:
        pose = pose + self.tilt
        gaze = np.array([np.sin(pose[3]), np.sin(pose[4]), 1.0])
        self.params.set(gaze=gaze / np.linalg.norm(gaze))
        normals = vertex_normals(raster.positions, self.mesh.faces)
        return shade(
            self.mesh.faces, self.mesh.parts, self.mesh.attributes, normals, raster.ids,
            raster.bary, self.texture, self.background, self.params,
        )  # fmt: skip

    def _tracks(self, raster: _Raster) -> tuple[Floats, Bools]:
        at = raster.screen[self.mesh.track_points]
        cols, rows = np.floor(at[:, 0]).astype(int), np.floor(at[:, 1]).astype(int)
        limit = SIZE * SUPERSAMPLE
        inside = (cols >= 0) & (rows >= 0) & (cols < limit) & (rows < limit)
        nearest = raster.depth[np.clip(rows, 0, limit - 1), np.clip(cols, 0, limit - 1)]
        return (at[:, :2] / SUPERSAMPLE).astype(np.float32), inside & (at[:, 2] > nearest - 0.12)

    def _boxes(self, pose: Floats) -> Floats:
        points = np.stack([self.mesh.mouth, *self.mesh.eyes]).astype(np.float32)
        turned = (points - _PIVOT) @ rotation(pose + self.tilt).T + _PIVOT + self.shift
        turned = np.ascontiguousarray(turned, np.float32)
        return project(turned, SIZE, self.params)[:, :2].astype(np.float32)

    def _lip_gap(self, weights: dict[str, float]) -> float:
        """Opening between the middle of the lips in px, before the head is turned."""
        upper, lower = self.mesh.lips
        gap = sum(
            w
            * (
                self.mesh.units[FACE_UNITS.index(n), upper, 1]
                - self.mesh.units[FACE_UNITS.index(n), lower, 1]
            )
            for n, w in weights.items()
        )
        return float(gap) * self.params.scale * SIZE


def rotation(pose: Floats) -> Floats:
    """Rotation matrix of yaw (to the subject's left), pitch (down) and roll, in radians."""
    yaw, pitch, roll = (float(a) for a in pose[:3])
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (turn @ nod @ lean).astype(np.float32)


def _params(mesh: HeadMesh, who: Identity, look: Outfit) -> Shading:
    angle = np.radians(look.light_deg)
    light = np.array([np.sin(angle), 0.45, np.cos(angle)])
    params = Shading()
    params.set(
        scale=1 / 3.3, centre_y=7.22, camera_z=13.0, light=light / np.linalg.norm(light),
        key=(0.80, 0.765, 0.72), fill=(0.20, 0.21, 0.235), sky=(0.27, 0.285, 0.31),
        ground=(0.17, 0.155, 0.145), rim=(0.55, 0.58, 0.65), hair=who.hair.colour,
        hair_shine=who.hair.shine, curl=who.hair.curl, cloth=look.cloth, cloth2=look.cloth2,
        cloth_kind=look.cloth_kind, iris=who.iris, eye_centre=mesh.eyes, gaze=(0, 0, 1),
        lip=who.lip, mouth=mesh.mouth + np.array([0, 0, 0.05]), chin_y=mesh.chin_y,
        tex_y0=BOTTOM_Y, tex_height=HEIGHT, exposure=who.exposure,
        collar_front={0: 5.92, 1: 6.12, 2: 5.98, 3: 5.92}[look.cloth_kind],
        collar_back={0: 6.06, 1: 6.30, 2: 6.16, 3: 6.06}[look.cloth_kind],
    )  # fmt: skip
    if who.photograph:
        taken = who.photograph
        light = np.array([np.sin(angle), taken.light_height, np.cos(angle)])
        params.set(
            light=light / np.linalg.norm(light), key=taken.key, glare=taken.glare,
            fill=0.2 * taken.fill * np.ones(3), sky=np.array([0.27, 0.285, 0.31]) * taken.fill,
            glare_at=taken.glare_at,
        )  # fmt: skip
    return params


def downsample(colours: Floats) -> npt.NDArray[np.uint8]:
    """Supersampled colours 0..1 as pixels [SIZE,SIZE,3]."""
    return to_bytes(colours.reshape(SIZE, SUPERSAMPLE, SIZE, SUPERSAMPLE, 3).mean((1, 3)))


def to_bytes(colours: Floats) -> npt.NDArray[np.uint8]:
    """Colours 0..1 as bytes of the same shape."""
    return (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)
