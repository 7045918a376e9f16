"""Python face of rasteriser.c, compiled once with the system C compiler and loaded with ctypes."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.assets import Floats, Ints, MissingAssetError

SOURCE = Path(__file__).with_name("rasteriser.c")
ATTRIBUTES = 12
"""Floats per vertex: rest xyz, tangent xyz, inside mouth, lip, hairline, cover, u, v."""
SKIN, EYE, TEETH, TONGUE, HAIR, LASH, FRAME, BEARD = range(8)


def _vector(name: str, length: int = 3) -> tuple[str, Any]:
    return (name, ctypes.c_float * length)


class Shading(ctypes.Structure):
    """Camera, lights and colours of one look, mirrored from `Shading` in rasteriser.c."""

    _fields_ = [
        ("scale", ctypes.c_float),
        ("centre_y", ctypes.c_float),
        ("camera_z", ctypes.c_float),
        *[_vector(n) for n in ("light", "key", "fill", "sky", "ground", "rim", "hair")],
        ("hair_shine", ctypes.c_float),
        ("curl", ctypes.c_float),
        _vector("cloth"),
        _vector("cloth2"),
        ("cloth_kind", ctypes.c_float),
        ("collar_front", ctypes.c_float),
        ("collar_back", ctypes.c_float),
        _vector("iris"),
        _vector("eye_centre", 6),
        _vector("gaze"),
        _vector("lip"),
        _vector("mouth"),
        ("chin_y", ctypes.c_float),
        ("tex_y0", ctypes.c_float),
        ("tex_height", ctypes.c_float),
        ("exposure", ctypes.c_float),
        ("glare", ctypes.c_float),
        ("glare_at", ctypes.c_float),
    ]

    def set(self, **values: Any) -> None:
        """Set fields; sequences are written element by element."""
        for name, value in values.items():
            if np.ndim(value) == 0:
                setattr(self, name, float(value))
            else:
                getattr(self, name)[:] = [float(x) for x in np.ravel(value)]


def _pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """Compile rasteriser.c into the user's cache folder when its text changed, and load it.

    Raises MissingAssetError when no C compiler is installed.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rollcast"
    built = cache / f"rasteriser-{digest}.so"
    if not built.exists():
        if compiler is None:
            raise MissingAssetError("no C compiler `cc`: run `apt-get install gcc libc6-dev`")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            fresh = Path(folder) / "rasteriser.so"
            command = [compiler, "-O3", "-fno-math-errno", "-shared", "-fPIC", "-o", str(fresh)]
            subprocess.run([*command, str(SOURCE), "-lm"], check=True)
            fresh.replace(built)
    return ctypes.CDLL(str(built))


def vertex_normals(positions: Floats, faces: Ints) -> Floats:
    """Area-weighted unit normals [V,3]."""
    out = np.zeros_like(positions)
    library().vertex_normals(
        len(positions), _pointer(positions), len(faces), _pointer(faces), _pointer(out)
    )
    return out


def project(positions: Floats, size: int, params: Shading) -> Floats:
    """Screen x, y in pixels of a size x size picture and depth (larger is nearer), [V,3]."""
    out = np.empty_like(positions)
    library().project(
        len(positions), _pointer(positions), size, ctypes.byref(params), _pointer(out)
    )
    return out


def rasterise(
    faces: Ints, parts: Ints, attributes: Floats, screen: Floats, size: int, params: Shading
) -> tuple[Floats, Ints, Floats]:
    """Depth [S,S], triangle ids [S,S] (-1 is background) and barycentrics [S,S,2]."""
    depth = np.empty((size, size), np.float32)
    ids = np.empty((size, size), np.int32)
    bary = np.zeros((size, size, 2), np.float32)
    library().rasterise(
        len(faces), _pointer(faces), _pointer(parts), _pointer(attributes), _pointer(screen),
        size, ctypes.byref(params), _pointer(depth), _pointer(ids), _pointer(bary),
    )  # fmt: skip
    return depth, ids, bary


def shade(
    faces: Ints,
    parts: Ints,
    attributes: Floats,
    normals: Floats,
    ids: Ints,
    bary: Floats,
    texture: Floats,
    background: Floats,
    params: Shading,
) -> Floats:
    """Colours 0..1 [S,S,3] of rasterised samples over a background of the same size."""
    size = ids.shape[0]
    out = np.empty((size, size, 3), np.float32)
    library().shade_all(
        _pointer(faces), _pointer(parts), _pointer(attributes), _pointer(normals), size,
        _pointer(ids), _pointer(bary), _pointer(texture), texture.shape[0], _pointer(background),
        ctypes.byref(params), _pointer(out),
    )  # fmt: skip
    return out


def backward_flow(
    factor: int,
    faces: Ints,
    parts: Ints,
    ids: Ints,
    bary: Floats,
    reference_screen: Floats,
    reference_depth: Floats,
    reference_ids: Ints,
) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Flow to the reference in output px [S,S,2] and state [S,S]: 0 unknown, 1 surface, 2 back."""
    size = ids.shape[0]
    flow = np.empty((size, size, 2), np.float32)
    state = np.empty((size, size), np.uint8)
    library().backward_flow(
        size, factor, _pointer(faces), _pointer(parts), _pointer(ids), _pointer(bary),
        _pointer(reference_screen), _pointer(reference_depth), _pointer(reference_ids),
        _pointer(flow), _pointer(state),
    )  # fmt: skip
    return flow, state


def cast_rays(directions: Floats, origin: Floats, faces: Ints, positions: Floats) -> Floats:
    """Distance of the outermost hit per ray [R], 0 when there is none."""
    hit = np.zeros(len(directions), np.float32)
    library().cast_rays(
        len(directions), _pointer(directions), _pointer(origin), len(faces), _pointer(faces),
        _pointer(positions), _pointer(hit),
    )  # fmt: skip
    return hit
