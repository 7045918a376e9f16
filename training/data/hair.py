"""Hair as a parametric surface: from the crown over the skull, then hanging, to a ragged end."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from training.data.assets import Floats, Ints
from training.data.identities import Hair
from training.data.rasteriser import cast_rays

CENTRE = np.array([0.0, 7.5, 0.5], np.float32)
"""Middle of the skull; azimuth is measured around it, 0 towards the viewer."""
_AZIMUTHS, _ELEVATIONS, _ALONG = 120, 40, 36


@dataclass(frozen=True)
class Surface:
    """A textured sheet: positions, faces and per-vertex cover, lit depth, u, v, tangent."""

    positions: Floats
    faces: Ints
    cover: Floats
    depth: Floats
    uv: Floats
    tangents: Floats


def hairline(hair: Hair, azimuth: Floats) -> Floats:
    """Height y where hair begins on the skin at each azimuth (radians, either sign)."""
    degrees = np.abs(np.degrees(azimuth))
    side = hair.temple_deg
    top = max(hair.front_y, 7.9)
    knots = [0, 25, side - 16, side, side + 9, side + 16, side + 24, 112, 125, 150, 180]
    heights = [top, top + 0.01, top - 0.06, top - 0.36, hair.sideburn_y, hair.sideburn_y + 0.04,
               7.52, 7.5, 7.0, 6.66, 6.58]  # fmt: skip
    return np.interp(degrees, knots, heights).astype(np.float32)


def hairline_distance(hair: Hair, positions: Floats) -> Floats:
    """How far above the hairline each vertex lies, in decimetres (negative is bare skin)."""
    offset = positions - CENTRE
    distance = positions[:, 1] - hairline(hair, np.arctan2(offset[:, 0], offset[:, 2]))
    return np.where(positions[:, 1] < 6.4, -1, distance).astype(np.float32)


def measure_skull(positions: Floats, faces: Ints) -> tuple[Floats, Floats, Floats]:
    """Azimuths [A], elevations [E] (radians) and the head's radius [A,E] without the ears (dm)."""
    azimuth = np.linspace(-np.pi, np.pi, _AZIMUTHS, endpoint=False, dtype=np.float32)
    elevation = np.linspace(np.pi / 2, -0.9, _ELEVATIONS, dtype=np.float32)
    a, e = np.meshgrid(azimuth, elevation, indexing="ij")
    rays = np.stack([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], -1)
    flat = np.ascontiguousarray(rays.reshape(-1, 3).astype(np.float32))
    radius = cast_rays(flat, CENTRE, faces, positions).reshape(a.shape)
    degrees = np.abs(np.degrees(a))
    ears = (degrees > 72) & (degrees < 122) & (e < 0.12) & (e > -0.75)
    radius = np.where(ears, np.minimum(radius, 0.80), radius)
    radius = median_filter(radius, (5, 3), mode="wrap")
    smooth = gaussian_filter1d(radius, 1.5, axis=0, mode="wrap")
    return azimuth, elevation, gaussian_filter1d(smooth, 1, axis=1, mode="nearest")


def _end_height(hair: Hair, azimuth: Floats) -> Floats:
    """Height where the sheet ends: the front hairline or fringe, then the sides and back."""
    line = hairline(hair, azimuth)
    degrees = np.abs(np.degrees(azimuth))
    if hair.end_y > 7.3:
        return np.minimum(line, np.where(degrees < hair.temple_deg - 5, hair.front_y, line))
    blend = np.clip((degrees - (hair.temple_deg - 9)) / 17, 0, 1) ** 1.4
    front = np.where(degrees < hair.temple_deg, np.minimum(line, hair.front_y), line)
    return (front * (1 - blend) + hair.end_y * blend).astype(np.float32)


def _path(hair: Hair, radius: Floats, elevation: Floats, fall_to: float) -> tuple[Floats, Floats]:
    """Outline of the head at one azimuth as (distance from the axis, height), hanging below."""
    flat = radius * np.cos(elevation)
    height = CENTRE[1] + radius * np.sin(elevation)
    if fall_to > 7.3:
        return flat, height
    upper = elevation > -0.02
    widest = float(flat[upper].max())
    drop = np.linspace(float(height[upper][-1]) - 0.05, 5.2, 24)
    flare = widest + 0.03 * np.sin(np.linspace(0, 2.2, 24))
    return np.concatenate([flat[upper], flare]), np.concatenate([height[upper], drop])


def hair_sheet(
    hair: Hair, skull: tuple[Floats, Floats, Floats], layer: float, seed: int
) -> Surface:
    """Build one sheet of hair around a head.

    skull: what measure_skull found; layer: 0..1 share of the full thickness. Outer sheets are
    thinner at their ends.
    """
    azimuth, elevation, radius = skull
    end = _end_height(hair, azimuth)
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6, 4)
    n, m = len(azimuth), _ALONG
    grid = np.zeros((n, m, 3), np.float32)
    cover = np.zeros((n, m), np.float32)
    along = np.linspace(0, 1, m, dtype=np.float32)
    depth = np.repeat((0.5 + 0.5 * layer - 0.25 * along)[None], n, 0)
    degrees = np.abs(np.degrees(azimuth))
    for i, a in enumerate(azimuth):
        flat, height = _path(hair, radius[i], elevation, hair.end_y)
        length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(flat), np.diff(height)))])
        below = np.nonzero(height <= end[i])[0]
        stop = length[-1] if not len(below) else _crossing(length, height, below[0], float(end[i]))
        at = along * stop
        r, y = np.interp(at, length, flat), np.interp(at, length, height)
        hangs = hair.end_y < 7.3 and degrees[i] > hair.temple_deg - 4
        on_skin = 0.0 if hangs else 1.0
        fringe = 0.35 if hair.front_y < 7.9 and degrees[i] < hair.temple_deg else 0.0
        taper = 1 - on_skin * (1 - fringe) * np.clip((along - 0.55) / 0.45, 0, 1) ** 2
        lump = 1 + 0.10 * np.sin(5 * a + phase[0] + 2 * along) + 0.05 * np.sin(11 * a + phase[1])
        if hair.curl > 0.5:
            lump = lump + 0.16 * np.sin(9 * a + 14 * along + phase[2]) * np.sin(17 * along + 7 * a)
        thick = hair.thickness * layer * taper * lump + 0.018
        thick = thick * (
            1 - 0.25 * np.exp(-(((a - hair.parting) / 0.12) ** 2)) * np.exp(-(along**2) * 4)
        )
        tilt = np.arctan2(np.gradient(r), -np.gradient(y) + 1e-6)
        wave = hair.wave * np.sin(9 * along * stop / 2 + 5 * np.sin(2 * a) + phase[3]) * along
        reach = r + thick * np.clip(np.cos(tilt), 0.0, 1) + wave
        grid[i, :, 0] = reach * np.sin(a)
        grid[i, :, 1] = y + thick * np.clip(np.sin(tilt), 0, 1)
        grid[i, :, 2] = CENTRE[2] + reach * np.cos(a)
        ragged = 0.10 if hangs else 0.16
        cover[i] = np.clip((1 - along) / ragged, 0, 1) * 1.05 + (0.0 if layer > 0.9 else 0.12)
        cover[i, along < 1 - ragged] = 1
    return _as_surface(grid, cover, depth, azimuth)


def _crossing(length: Floats, height: Floats, k: int, y: float) -> float:
    if k == 0:
        return float(length[0])
    share = (height[k - 1] - y) / max(height[k - 1] - height[k], 1e-6)
    return float(length[k - 1] + share * (length[k] - length[k - 1]))


def _as_surface(grid: Floats, cover: Floats, depth: Floats, azimuth: Floats) -> Surface:
    n, m = cover.shape
    tangents = np.gradient(grid, axis=1)
    tangents /= np.linalg.norm(tangents, axis=-1, keepdims=True) + 1e-9
    # Column 0 is repeated with azimuth + 2 pi, so the strand texture has no wrapped triangle.
    grid, tangents = (np.concatenate([x, x[:1]], 0) for x in (grid, tangents))
    cover, depth = (np.concatenate([x, x[:1]], 0) for x in (cover, depth))
    turn = np.concatenate([azimuth, [azimuth[0] + 2 * np.pi]])
    run = np.concatenate(
        [np.zeros((n + 1, 1)), np.cumsum(np.linalg.norm(np.diff(grid, axis=1), axis=-1), 1)], 1
    )
    uv = np.stack([np.repeat(turn[:, None], m, 1), run], -1)
    i, j = np.meshgrid(np.arange(n), np.arange(m - 1), indexing="ij")
    a, b = i * m + j, (i + 1) * m + j
    faces = np.stack([np.stack([a, a + 1, b], -1), np.stack([b, a + 1, b + 1], -1)], 2)
    return Surface(
        grid.reshape(-1, 3).astype(np.float32),
        faces.reshape(-1, 3).astype(np.int32),
        cover.ravel().astype(np.float32),
        depth.ravel().astype(np.float32),
        uv.reshape(-1, 2).astype(np.float32),
        tangents.reshape(-1, 3).astype(np.float32),
    )
