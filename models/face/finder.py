"""Faces in a picture: BlazeFace says where they are, Face Mesh where 468 points of one lie.

As MediaPipe joins the two (its graph `face_landmark_front`): the mesh looks at a square of one and
a half times the face, turned so that its eyes are level. client/web/face/finder.js does the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from .networks import Floats, load

SURE = 0.5
"""Score from which on a face is one."""
_SAME = 0.3
"""Boxes that share more than this of what both cover are of one face."""
_AROUND = 1.5
_EYE_CORNERS = (33, 263)
_PASSES = 2
"""Of the mesh, the second where the first found the face."""
_PARTS = (1, 2)
"""The whole is looked through and, if there is no face, squares of half its side."""
_MOST_TRACED = 8
"""Of what is detected: the mesh says which of these are faces."""
_GRIDS = ((8, 2), (16, 6))
"""Pixels between the detector's anchors, and how many are at each place."""


@dataclass(frozen=True, slots=True)
class Square:
    """A part of a picture in its pixels: middle, side, and by how much it is turned, radians."""

    x: float
    y: float
    side: float
    angle: float = 0.0


@dataclass(frozen=True, slots=True)
class Face:
    """`points` [468, 2] in pixels of the picture, numbered as in Face Mesh; how sure the mesh is
    that it sees a face, 0..1."""

    points: Floats
    presence: float


@dataclass(frozen=True, slots=True)
class Found:
    """The largest face of a picture, None where there is none, and how many there are."""

    face: Face | None
    count: int


@dataclass(frozen=True, slots=True)
class _Box:
    """A detected face: middle and eyes [3, 2], and its width, in pixels of the picture."""

    score: float
    places: Floats
    size: float


def find(picture: Image.Image) -> Found:
    """The largest face of an RGB picture."""
    for parts in _PARTS:
        boxes = _detected(picture, _overlapping(picture, parts))
        boxes = sorted(boxes, key=lambda box: -box.size)[:_MOST_TRACED]
        faces = [face for face in (_traced(picture, box) for box in boxes) if face.presence >= SURE]
        if faces:
            return Found(faces[0], len(faces))
    return Found(None, 0)


def trace(frames: np.ndarray, around: Square) -> tuple[Floats, Floats]:
    """`points` [N, 468, 2] and presence [N] of the face in one square of uint8 RGB [N, H, W, 3]."""
    net = load("mesh")
    seen = np.stack([cut(Image.fromarray(frame), around, net.side) for frame in frames])
    raw, flag = net(seen / np.float32(255))
    points = raw.reshape(len(seen), -1, 3)[..., :2]
    return put_back(points, around, net.side), _sigmoid(flag.reshape(-1))


def square_around(points: Floats) -> Square:
    """The square that the mesh looks at, of a face whose points [468, 2] are known."""
    left, right = (points[k] for k in _EYE_CORNERS)
    angle = float(np.arctan2(right[1] - left[1], right[0] - left[0]))
    turned = points @ _turn(-angle).T
    low, high = turned.min(0), turned.max(0)
    x, y = _turn(angle) @ ((low + high) / 2)
    return Square(float(x), float(y), float(_AROUND * (high - low).max()), angle)


def _traced(picture: Image.Image, box: _Box) -> Face:
    (x, y), left, right = box.places.tolist()
    angle = float(np.arctan2(right[1] - left[1], right[0] - left[0]))
    around = Square(x, y, _AROUND * box.size, angle)
    frame = np.asarray(picture)[None]
    for _ in range(_PASSES):
        points, presence = trace(frame, around)
        around = square_around(points[0])
    return Face(points[0], float(presence[0]))


def _detected(picture: Image.Image, parts: list[Square]) -> list[_Box]:
    """The faces in parts of a picture, the surest first."""
    net = load("detector")
    seen = np.stack([cut(picture, part, net.side) for part in parts])
    places, scores = net(seen / np.float32(127.5) - 1)
    found: list[_Box] = []
    for part, place, score in zip(parts, places, _sigmoid(scores[..., 0]), strict=True):
        for k in np.flatnonzero(score >= SURE):
            # middle, size, eyes and four more points, from the anchor on
            middle, size, *eyes = place[k].reshape(8, 2)[:4]
            at = put_back(np.stack([middle, *eyes]) + _anchors()[k], part, net.side)
            found.append(_Box(float(score[k]), at, float(size.max()) * part.side / net.side))
    return _apart(found)


def _overlapping(picture: Image.Image, parts: int) -> list[Square]:
    """Squares that have the `parts`th of a picture's side, each half over the next."""
    side = max(picture.size)
    steps = (np.arange(2 * parts - 1) - (parts - 1)) * side / (2 * parts)
    x, y = picture.width / 2, picture.height / 2
    reach = side / (2 * parts)
    return [
        Square(float(x + right), float(y + down), side / parts)
        for down in steps
        for right in steps
        if abs(right) < x + reach and abs(down) < y + reach
    ]


def _apart(boxes: list[_Box]) -> list[_Box]:
    """Of boxes of one face the surest."""
    kept: list[_Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if all(_shared(box, other) <= _SAME for other in kept):
            kept.append(box)
    return kept


def _shared(one: _Box, other: _Box) -> float:
    """What both cover as a share of what either does."""
    half = (one.size + other.size) / 2
    apart = np.abs(one.places[0] - other.places[0])
    both = np.clip(np.minimum(half - apart, min(one.size, other.size)), 0, None).prod()
    return float(both / (one.size**2 + other.size**2 - both))


@cache
def _anchors() -> Floats:
    """Where the detector's places are counted from [896, 2], in its pixels."""
    rows = []
    for step, times in _GRIDS:
        middles = np.arange(step / 2, load("detector").side, step)
        grid = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
        rows.append(grid.repeat(times, 0))
    return np.concatenate(rows).astype(np.float32)


def cut(picture: Image.Image, part: Square, side: int) -> Floats:
    """A part of a picture [side, side, 3], 0..255, black outside of it."""
    # so much is left out by taking means: a pixel of the cut then sees all of what it covers
    shrink = max(1, int(part.side / side / 1.5))
    small = picture.reduce(shrink) if shrink > 1 else picture
    (a, b), (c, d) = _turn(part.angle) * (part.side / side / shrink)
    x = part.x / shrink - (a + b) * side / 2
    y = part.y / shrink - (c + d) * side / 2
    size, how = (side, side), Image.Transform.AFFINE
    made = small.transform(size, how, (a, b, x, c, d, y), Image.Resampling.BILINEAR)
    return np.asarray(made, np.float32)


def put_back(points: Floats, part: Square, side: int) -> Floats:
    """Points [..., 2] in pixels of a cut as points of the picture."""
    turned = (points / side - 0.5) * part.side @ _turn(part.angle).T
    return (turned + np.array((part.x, part.y))).astype(np.float32)


def _turn(angle: float) -> Floats:
    """By which (x right, y down) vectors are turned clockwise."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]], np.float32)


def _sigmoid(x: Floats) -> Floats:
    return (1 / (1 + np.exp(-np.clip(x, -80, 80)))).astype(np.float32)
