"""Rendered clips in memory: what the trainers draw their batches from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rollcast.models.pocket.autoencoder import FLOW_SIZE, Pictures
from rollcast.models.pocket.looks import AVATAR_SCALE
from rollcast.models.pocket.motion import CELL, SceneObject, camera_way, pans

from .rigid_flow import rigid_flow
from .vocabulary import build_vocabulary

SCENE_SCALE = 24.0  # pixels of flow per unit of a motion latent
# of the 36 samples of a cell, how many must move for it to move
_LEAST_PIXELS = 4
_THING_REACH = 31.5  # pixels around a thing's centre that count as its own


@dataclass(frozen=True, slots=True)
class Look:
    """An avatar in one outfit, or a scene; `tokens` of the vocabulary describe it.

    `things` are all that moves in a scene; if its camera pans, the last one is its view.
    """

    name: str
    kind: str
    tokens: frozenset[str]
    things: tuple[SceneObject, ...]
    reference: Tensor  # -1..1 [3, 2H, 2W]
    # with open mouth and closed eyes; a scene has its reference here, or if it pans its plate
    opened: Tensor
    plate: Tensor  # what is behind its person or things, as `reference`
    scale: float
    ships: bool
    # its picture is a photograph, and nobody knows what is behind it
    brought: bool

    @property
    def is_avatar(self) -> bool:
        return self.kind == "avatar"

    @property
    def pans(self) -> bool:
        """Whether its camera moves."""
        return pans(self.things)


class Motion(NamedTuple):
    """Backward flow in pixels of n frames to the two pictures of their looks.

    Coarse [n, 2, 16, 16], fine [n, 96, 96, 2], and where the fine flow is known [n, 96, 96].
    """

    flow: Tensor
    fine: Tensor
    fine_known: Tensor
    open_flow: Tensor
    open_fine: Tensor
    open_known: Tensor


class Clips:
    """All clips of one split, stacked: N clips of T frames."""

    def __init__(self, folder: Path, split: str, index: dict[str, Any], looks: list[Look]) -> None:
        order = {look.name: k for k, look in enumerate(looks)}
        paths = [p for name in order for p in sorted(folder.glob(f"{split}_{name}_*.npz"))]
        if not paths:
            raise FileNotFoundError(
                f"no {split} clips in {folder}; render them with: python -m training.data render"
            )
        names = [p.stem.removeprefix(f"{split}_").rsplit("_", 1)[0] for p in paths]
        self.look = torch.tensor([order[name] for name in names])
        shown = [looks[k] for k in self.look.tolist()]
        avatars = [look.is_avatar for look in shown]
        pictures = _Pictures(len(paths))
        loaded = [pictures.take(n, path, shown[n]) for n, path in enumerate(paths)]
        self.frames = pictures.stacks["frames"]
        self.fine_flow, self.fine_known = pictures.stacks["fine"], pictures.stacks["fine_ok"]
        self.open_fine = pictures.stacks["open_fine"]
        self.open_known = pictures.stacks["open_fine_ok"]
        self.flow = torch.from_numpy(np.stack([clip["flow"] for clip in loaded])).float()
        self.open_flow = torch.from_numpy(np.stack([clip["open_flow"] for clip in loaded])).float()
        frames = self.length

        def stack(name: str, shape: tuple[int, ...]) -> Tensor:
            rows = [
                clip[name] if avatar else np.zeros((frames, *shape), np.float32)
                for clip, avatar in zip(loaded, avatars, strict=True)
            ]
            return torch.from_numpy(np.stack(rows)).float()

        self.visemes = stack("visemes", (len(index["visemes"]),))
        self.pose = stack("pose", (5,))
        self.blink = stack("blink", ())
        self.brow = stack("brow", ())
        self.lip_gap = stack("lip_gap", ())
        self.boxes = stack("boxes", (3, 2))
        self.level = stack("level", ())
        self.expression = [
            int(np.max(clip["expression"])) if avatar else 0
            for clip, avatar in zip(loaded, avatars, strict=True)
        ]
        self.audio = [
            clip["audio"] if avatar else None for clip, avatar in zip(loaded, avatars, strict=True)
        ]
        self.tracks = [clip["tracks"] for clip in loaded]
        self.track_ref = [clip["track_ref"] for clip in loaded]
        self.track_seen = [clip["track_vis"] for clip in loaded]
        self.track_object = [clip["track_object"] for clip in loaded]

    def __len__(self) -> int:
        return len(self.look)

    @property
    def length(self) -> int:
        """Frames of a clip."""
        return self.frames.shape[1]

    def motion(self, clip: Tensor, time: Tensor) -> Motion:
        """How the frames `time` of `clip` have moved."""
        maps = (self.flow, self.fine_flow, self.fine_known)
        opened = (self.open_flow, self.open_fine, self.open_known)
        return Motion(*(t[clip, time] for t in (*maps, *opened)))


_PICTURES = ("frames", "fine", "fine_ok", "open_fine", "open_fine_ok")


class _Pictures:
    """What is large of N clips, each read straight to its place: no second copy is ever held."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.stacks: dict[str, Tensor] = {}

    def take(self, n: int, path: Path, look: Look) -> dict[str, np.ndarray]:
        """Read clip `n`; what is small of it.

        A scene's second picture is its first, unless its camera pans: then its motion is that in
        the world, as any scene's, and the way of the camera.
        """
        with np.load(path) as file:
            clip: dict[str, np.ndarray] = dict(file)
        if look.pans:
            way = camera_way(centres(clip), look.things).numpy()
            in_world = rigid_flow(clip["fine"] - way[:, None, None], clip, look.things[:-1], way)
            clip["fine"] = in_world + way[:, None, None]
            clip["flow"] = object_flow(in_world, resting_cells(clip, way)) + way[..., None, None]
        elif not look.is_avatar:
            clip["fine"] = rigid_flow(clip["fine"], clip, look.things)
            clip["flow"] = clip["open_flow"] = object_flow(clip["fine"], resting_cells(clip))
            clip |= {"open_fine": clip["fine"], "open_fine_ok": clip["fine_ok"]}
        for name in _PICTURES:
            part = torch.from_numpy(clip.pop(name))
            if name not in self.stacks:
                self.stacks[name] = torch.empty(self.count, *part.shape, dtype=part.dtype)
            self.stacks[name][n] = part
        return clip


def object_flow(fine: np.ndarray, resting: np.ndarray) -> np.ndarray:
    """Fine flow [T, 96, 96, 2] of a scene -> coarse [T, 2, 16, 16] without mixing.

    A cell that anything moving touches takes the flow of one of its moving pixels, the one most
    like the others: an average would name a motion that nothing has, and the matte of what moves
    shows the ground beside it.
    """
    frames, size = fine.shape[:2]
    cell = size // FLOW_SIZE
    blocks = fine.astype(np.float32).reshape(frames, FLOW_SIZE, cell, FLOW_SIZE, cell, 2)
    pixels = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, cell * cell, 2)
    moving = np.abs(pixels).max(-1) > 0.25
    coarse = np.zeros((len(pixels), 2), np.float32)
    touched = np.flatnonzero(moving.sum(1) >= _LEAST_PIXELS)
    some, mask = pixels[touched], moving[touched]
    apart = np.abs(some[:, :, None] - some[:, None]).sum(-1) * mask[:, None]
    unlike = np.where(mask, apart.sum(-1), np.inf)
    coarse[touched] = some[np.arange(len(some)), unlike.argmin(1)]
    grid = coarse.reshape(frames, FLOW_SIZE, FLOW_SIZE, 2)
    return spread(grid, resting).transpose(0, 3, 1, 2)


def spread(coarse: np.ndarray, resting: np.ndarray) -> np.ndarray:
    """Coarse flow [T, 16, 16, 2] grown by one cell into empty ground.

    Around a moving thing the ground takes its flow, so that no pixel of its edge is drawn from a
    mixture; the matte shows the ground there all the same. `resting` [T, 16, 16] are cells of
    things that stand still, which keep their zero.
    """
    moving = np.abs(coarse).max(-1) > 0
    grown = coarse.copy()
    empty = ~moving & ~resting
    for step in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        source = np.roll(coarse, step, (1, 2))
        take = np.roll(moving, step, (1, 2)) & empty
        _forget_wrapped(take, step)
        grown[take] = source[take]
        empty &= ~take
    return grown


def _forget_wrapped(take: np.ndarray, step: tuple[int, int]) -> None:
    """`np.roll` brings the far side in at the border: take nothing from there."""
    for axis, by in enumerate(step, start=1):
        if by:
            edge = [slice(None)] * 3
            edge[axis] = slice(0, 1) if by > 0 else slice(-1, None)
            take[tuple(edge)] = False


def centres(clip: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where the objects of a scene's clip are, px [T, K, 2]: the first track point of each."""
    return clip["tracks"][:, _firsts(clip["track_object"])]


def _firsts(objects: np.ndarray) -> list[int]:
    return [int(np.flatnonzero(objects == k)[0]) for k in np.unique(objects)]


def resting_cells(clip: Mapping[str, np.ndarray], way: np.ndarray | None = None) -> np.ndarray:
    """Cells [T, 16, 16] near things that are at home, from a clip's track points.

    `way` [T, 2] is from what a camera that pans sees back to what it sees at home; its view, the
    last object, is no thing.
    """
    line = (np.arange(FLOW_SIZE) + 0.5) * CELL
    here, reference = centres(clip), clip["track_ref"][_firsts(clip["track_object"])]
    if way is None:
        way = np.zeros((len(here), 2))
    else:
        here, reference = here[:, :-1], reference[:-1]
    near = np.zeros((len(here), FLOW_SIZE, FLOW_SIZE), bool)
    for k, home in enumerate(reference):
        still = np.abs(here[:, k] + way - home).max(-1) < 0.3
        x, y = (home - way).T[..., None, None]
        close = np.hypot(line - x, line[:, None] - y) < _THING_REACH
        near |= still[:, None, None] & close
    return near


def pictures_of(looks: list[Look]) -> Pictures:
    """The pictures of all looks, and then of all of them again, each without its plate.

    Row `len(looks) + k` is look `k` as if somebody had brought a picture of it.
    """
    reference = torch.stack([look.reference for look in looks])
    opened = torch.stack([look.opened for look in looks])
    plates = torch.stack([look.plate for look in looks])
    pans = torch.tensor([look.pans for look in looks])
    known = Pictures(reference, opened, plates, torch.zeros_like(pans), pans)
    flat = Pictures.without_plate(reference, opened)
    return Pictures(*(torch.cat(pair) for pair in zip(known, flat, strict=True)))


def load_index(folder: Path) -> dict[str, Any]:
    """The data set's description."""
    return json.loads((folder / "index.json").read_text())


def load_looks(folder: Path, index: dict[str, Any]) -> list[Look]:
    """All looks with their reference pictures."""
    looks = []
    _, tokens = build_vocabulary(index)
    for entry in index["looks"]:
        reference, plate = (_picture(folder / entry[key]) for key in ("reference", "plate"))
        scale = AVATAR_SCALE if entry["kind"] == "avatar" else SCENE_SCALE
        things = tuple(
            SceneObject(
                t["word"],
                tuple(t["home"]),
                t["radius_px"],
                tuple(t["pan"]) if "pan" in t else None,
            )
            for t in entry.get("things", [])
        )
        opened = _picture(folder / entry[second_picture(entry)])
        own = tokens[entry["name"]]
        looks.append(
            Look(
                entry["name"],
                entry["kind"],
                own,
                things,
                reference,
                opened,
                plate,
                scale,
                entry["ships"],
                entry["brought"],
            )
        )
    return looks


def second_picture(entry: Mapping[str, Any]) -> str:
    """Which of a look's pictures in the index is its second one."""
    if any("pan" in thing for thing in entry.get("things", [])):
        return "plate"
    return "open" if "open" in entry else "reference"


def _picture(path: Path) -> Tensor:
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32)
    return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)
