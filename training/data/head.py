"""One identity's mesh: shaped head, hair sheets, beard and glasses with all per-vertex labels."""

from dataclasses import dataclass

import numpy as np

from training.data.assets import Bools, Floats, HeadAssets, Ints
from training.data.hair import Surface, hair_sheet, hairline_distance, measure_skull
from training.data.identities import Identity
from training.data.rasteriser import (
    ATTRIBUTES,
    BEARD,
    EYE,
    FRAME,
    HAIR,
    LASH,
    SKIN,
    TEETH,
    TONGUE,
    vertex_normals,
)  # fmt: skip

FACE_UNITS: tuple[str, ...] = (
    "jawOpen", "mouthFunnel", "mouthPucker", "tongueOut", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "browInnerUp", "noseSneerLeft", "noseSneerRight",
    *(f"{name}{side}" for name in (
        "mouthLowerDown", "mouthUpperUp", "mouthPress", "mouthSmile", "mouthStretch", "mouthFrown",
        "mouthDimple", "browDown", "browOuterUp", "eyeBlink", "eyeWide", "eyeSquint", "cheekSquint",
        "eyeLookDown", "eyeLookUp",
    ) for side in ("Left", "Right")),
)  # fmt: skip
"""The ARKit face units used; their order is the order of `HeadMesh.units`."""

TRACK_NAMES = ("nose tip", "nose bridge", "chin", "forehead", "left cheek", "right cheek",
               "left temple", "right temple", "left jaw", "right jaw", "left mouth corner",
               "right mouth corner")  # fmt: skip


@dataclass
class HeadMesh:
    """Everything a portrait needs: geometry, face units, labels and landmarks (decimetres)."""

    positions: Floats
    faces: Ints
    parts: Ints
    attributes: Floats
    units: Floats
    """Displacement [U,V,3] per face unit in FACE_UNITS order."""
    turning: Floats
    """Share [V] of the head's rotation each vertex follows (0 shoulders, 1 head)."""
    eyes: Floats
    mouth: Floats
    chin_y: float
    lips: tuple[int, int]
    """Vertices in the middle of the upper and lower lip."""
    track_points: Ints


class _Parts:
    """Collects sub-meshes into one vertex and face list."""

    def __init__(self) -> None:
        self.positions: list[Floats] = []
        self.faces: list[Ints] = []
        self.parts: list[Ints] = []
        self.attributes: list[Floats] = []
        self.source: list[Ints] = []
        self.count = 0

    def add(
        self, positions: Floats, faces: Ints, part: int, attributes: Floats, source: Ints
    ) -> None:
        self.positions.append(positions.astype(np.float32))
        self.faces.append((faces + self.count).astype(np.int32))
        self.parts.append(np.full(len(faces), part, np.int32))
        self.attributes.append(attributes)
        self.source.append(source.astype(np.int32))
        self.count += len(positions)


def build_head(assets: HeadAssets, who: Identity) -> HeadMesh:
    """Shape the base head into one identity and dress it with hair, beard and glasses."""
    shaped = _shape(assets, who)
    body = assets.group("body")
    body_faces = np.ascontiguousarray(assets.faces[assets.face_group == "body"])
    normals = vertex_normals(shaped, body_faces)
    distance = np.where(body, hairline_distance(who.hair, shaped), -1).astype(np.float32)
    inside, lips = assets.texture_mask("inside-mouth"), assets.texture_mask("lips")
    base = np.zeros((len(shaped), ATTRIBUTES), np.float32)
    base[:, :3] = shaped
    base[:, 6], base[:, 7], base[:, 8], base[:, 9] = inside, lips, distance, 1.0
    mesh = _Parts()
    for part, faces in _base_faces(assets, shaped):
        _add_base(mesh, shaped, base, faces, part)
    skull_faces = np.ascontiguousarray(body_faces[(shaped[body_faces, 1] > 6.3).all(1)])
    skull = measure_skull(shaped, skull_faces)
    for layer in (0.5, 0.8, 1.0):
        _add_hair(mesh, hair_sheet(who.hair, skull, layer, seed=len(who.name) * 7 + 1))
    if who.beard:
        _add_beard(mesh, who, shaped, base, body_faces, normals)
    if who.glasses:
        _add_glasses(mesh, _eyes(assets, shaped))
    return _finish(assets, shaped, lips, mesh)


def _shape(assets: HeadAssets, who: Identity) -> Floats:
    shaped = assets.vertices.copy()
    for name, weight in who.macro.items():
        shaped += weight * assets.morph(f"macrodetails/{name}")
    for name, weight in who.details.items():
        shaped += weight * assets.morph(name)
    moved = _eyes(assets, shaped).mean(0) - _eyes(assets, assets.vertices).mean(0)
    return np.ascontiguousarray(shaped - moved, np.float32)


def _eyes(assets: HeadAssets, shaped: Floats) -> Floats:
    return np.stack([shaped[assets.group(f"helper-{s}-eye")].mean(0) for s in ("l", "r")])


def _base_faces(assets: HeadAssets, shaped: Floats) -> list[tuple[int, Ints]]:
    group = assets.face_group
    near = (shaped[assets.faces][..., 1].min(1) > 5.0) & (
        np.abs(shaped[assets.faces][..., 0]).max(1) < 2.4
    )
    chosen: list[tuple[int, Bools]] = [
        (SKIN, (group == "body") & near),
        (EYE, (group == "helper-l-eye") | (group == "helper-r-eye")),
        (TEETH, (group == "helper-upper-teeth") | (group == "helper-lower-teeth")),
        (TONGUE, group == "helper-tongue"),
        (LASH, np.char.find(group.astype(str), "eyelash") >= 0),
    ]
    return [(part, assets.faces[mask]) for part, mask in chosen]


def _add_base(mesh: _Parts, shaped: Floats, base: Floats, faces: Ints, part: int) -> None:
    used, local = np.unique(faces, return_inverse=True)
    mesh.add(shaped[used], local.reshape(faces.shape), part, base[used], used)


def _add_hair(mesh: _Parts, sheet: Surface) -> None:
    attributes = np.zeros((len(sheet.positions), ATTRIBUTES), np.float32)
    attributes[:, :3], attributes[:, 3:6] = sheet.positions, sheet.tangents
    attributes[:, 8], attributes[:, 9], attributes[:, 10:] = sheet.depth, sheet.cover, sheet.uv
    rigid = np.full(len(sheet.positions), -1)
    mesh.add(sheet.positions, sheet.faces, HAIR, attributes, rigid)


def _smooth(low: float, high: float, x: Floats) -> Floats:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def beard_cover(shaped: Floats, mouth: Floats, base: Floats) -> Floats:
    """Share [V] of beard at each skin vertex: jaw, chin, sideburns and moustache."""
    x, y, z = np.abs(shaped[:, 0]), shaped[:, 1], shaped[:, 2]
    my = float(mouth[1])
    cheek_line = my + 0.08 + 0.9 * np.clip(x - 0.45, 0, 1)
    low = _smooth(my - 0.66, my - 0.5, y)
    jaw = _smooth(0.07, -0.12, y - cheek_line) * low * _smooth(0.45, 0.7, z)
    jaw = jaw * _smooth(0.27, 0.36, x + np.clip(my - 0.02 - y, 0, 1) * 2.5)
    burn = _smooth(7.2, 6.95, y) * _smooth(6.5, 6.6, y) * 0.8
    side = _smooth(0.58, 0.66, x) * _smooth(0.66, 0.8, z) * burn
    moustache = np.exp(-(((y - my - 0.125 + 0.25 * x * x) / 0.065) ** 2)) * _smooth(0.42, 0.32, x)
    moustache = moustache * (z > 1.2)
    soul = 1 - np.exp(-((x / 0.16) ** 2 + ((y - my + 0.14) / 0.05) ** 2)) * 0.5
    cover = np.maximum(np.maximum(jaw * soul, side), moustache * 1.15)
    bare = np.clip(base[:, 7] * 2.2, 0, 1) + (base[:, 6] > 0.3)
    return np.clip(cover * (1 - np.clip(bare, 0, 1)) * _smooth(0.25, 0.5, z), 0, 1).astype(
        np.float32
    )


def _add_beard(
    mesh: _Parts, who: Identity, shaped: Floats, base: Floats, faces: Ints, normals: Floats
) -> None:
    lips = base[:, 7] > 0.6
    cover = beard_cover(shaped, shaped[lips].mean(0), base)
    used, local = np.unique(faces[(cover[faces] > 0.02).any(1)], return_inverse=True)
    for k, height in enumerate((0.008, 0.02, 0.034)):
        attributes = base[used].copy()
        attributes[:, 9] = np.clip(cover[used] * (1.15 - 0.22 * k), 0, 0.97)
        attributes[:, 10], attributes[:, 11] = (
            np.arctan2(shaped[used, 0], shaped[used, 2] - 0.4),
            shaped[used, 1],
        )
        lifted = shaped[used] + normals[used] * (height * cover[used])[:, None]
        mesh.add(lifted, local.reshape(-1, 3), BEARD, attributes, used)


def _torus(centre: Floats, radius: tuple[float, float], tube: float) -> tuple[Floats, Ints]:
    n, k = 36, 8
    t, u = np.meshgrid(np.arange(n) * 2 * np.pi / n, np.arange(k) * 2 * np.pi / k, indexing="ij")
    # A rounded square (superellipse) looks more like a spectacle frame than a circle.
    power = 0.78
    cx, cy = (
        np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power,
        np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power,
    )
    x = centre[0] + cx * (radius[0] + tube * np.cos(u))
    y = centre[1] + cy * (radius[1] + tube * np.cos(u))
    z = centre[2] + tube * np.sin(u) - 0.25 * (np.abs(x) - abs(float(centre[0])))
    i, j = np.meshgrid(np.arange(n), np.arange(k), indexing="ij")
    a, b = i * k + j, (i + 1) % n * k + j
    c, d = (i + 1) % n * k + (j + 1) % k, i * k + (j + 1) % k
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32), faces.astype(np.int32)


def _bar(start: Floats, end: Floats, width: float) -> tuple[Floats, Ints]:
    """A thin box between two points."""
    along = (end - start) / np.linalg.norm(end - start)
    side = np.cross(along, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, along)
    ring = [width * (a * side + b * up) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    points = np.array([p + r for p in (start, end) for r in ring], np.float32)
    faces = [[k, (k + 1) % 4, 4 + (k + 1) % 4] for k in range(4)]
    faces += [[k, 4 + (k + 1) % 4, 4 + k] for k in range(4)]
    return points, np.array(faces, np.int32)


def _add_glasses(mesh: _Parts, eyes: Floats) -> None:
    pieces = []
    for sign, eye in zip((1, -1), eyes, strict=True):
        centre = np.array([eye[0] * 1.06, eye[1] - 0.03, eye[2] + 0.36], np.float32)
        pieces.append(_torus(centre, (0.235, 0.185), 0.016))
        outer = centre + np.array([sign * 0.235, 0.06, -0.06], np.float32)
        pieces.append(
            _bar(outer, np.array([sign * 0.80, centre[1] + 0.08, 0.55], np.float32), 0.018)
        )
    y, z = float(eyes[:, 1].mean()) + 0.02, float(eyes[:, 2].mean()) + 0.40
    pieces.append(
        _bar(np.array([-0.08, y, z], np.float32), np.array([0.08, y, z], np.float32), 0.016)
    )
    for positions, faces in pieces:
        attributes = np.zeros((len(positions), ATTRIBUTES), np.float32)
        attributes[:, :3], attributes[:, 9] = positions, 1
        mesh.add(positions, faces, FRAME, attributes, np.full(len(positions), -1))


def _finish(assets: HeadAssets, shaped: Floats, lips: Floats, mesh: _Parts) -> HeadMesh:
    positions = np.concatenate(mesh.positions)
    source = np.concatenate(mesh.source)
    parts, faces = np.concatenate(mesh.parts), np.concatenate(mesh.faces)
    rigid = source < 0
    still = np.zeros(len(positions), bool)
    still[faces[parts == EYE]] = True
    units = np.stack([assets.face_unit(name)[np.maximum(source, 0)] for name in FACE_UNITS])
    units[:, rigid | still] = 0
    turning = _smooth(5.95, 6.7, positions[:, 1]).astype(np.float32)
    turning[rigid] = np.maximum(turning[rigid], _smooth(5.2, 6.5, positions[rigid, 1]))
    mouth = shaped[lips > 0.6].mean(0)
    first = {int(s): i for i, s in reversed(list(enumerate(source))) if s >= 0}
    chosen = _landmarks(shaped, assets.group("body"), _eyes(assets, shaped), mouth)
    upper, lower = _lip_middle(assets, shaped, lips)
    return HeadMesh(
        positions, faces, parts, np.ascontiguousarray(np.concatenate(mesh.attributes)),
        np.ascontiguousarray(units, np.float32), turning, _eyes(assets, shaped), mouth,
        float(shaped[chosen[2], 1]), (first[upper], first[lower]),
        np.array([first[v] for v in chosen], np.int32),
    )  # fmt: skip


def _landmarks(shaped: Floats, body: Bools, eyes: Floats, mouth: Floats) -> list[int]:
    ey, my = float(eyes[:, 1].mean()), float(mouth[1])
    flat = [(0, ey - 0.37), (0, ey + 0.03), (0, my - 0.38), (0, ey + 0.52),
            (0.44, ey - 0.33), (-0.44, ey - 0.33), (0.60, ey + 0.22), (-0.60, ey + 0.22),
            (0.47, my - 0.1), (-0.47, my - 0.1), (0.27, my), (-0.27, my)]  # fmt: skip
    front = body & (shaped[:, 2] > 0.75) & (shaped[:, 1] > 6.2)
    return [_nearest_front(shaped, front, x, y) for x, y in flat]


def _nearest_front(shaped: Floats, front: Bools, x: float, y: float) -> int:
    """The frontmost vertex around a point of the front view."""
    gap = np.hypot(shaped[:, 0] - x, shaped[:, 1] - y) + (~front) * 9
    return int(np.argmin(gap - 0.25 * shaped[:, 2]))


def _lip_middle(assets: HeadAssets, shaped: Floats, lips: Floats) -> tuple[int, int]:
    middle = np.nonzero((lips > 0.5) & (np.abs(shaped[:, 0]) < 0.12))[0]
    drop = assets.face_unit("jawOpen")[middle, 1]
    lower = middle[np.argmax(-drop * 10 + shaped[middle, 1] + shaped[middle, 2])]
    upper = middle[np.argmax((np.abs(drop) < 0.02) * 100 - shaped[middle, 1] + shaped[middle, 2])]
    return int(upper), int(lower)
