"""Single rendered faces with known expressions: what the network that reads expressions learns on.

A clip shows one expression in few poses; stills show every look in all of them.
"""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rollcast.models.pocket.evaluation.readers import ExpressionReader
from rollcast.models.pocket.evaluation.signals import to_signed
from training.data.assets import Floats
from training.data.behaviour import EXPRESSIONS, behave
from training.data.clips import Arrays, portrait, save_clip
from training.data.plan import BASE_SEED, VERSION
from training.data.render import in_processes
from training.data.visemes import FRAME_HZ, Phoneme, viseme_track

_SOUNDS = "p b m f v th t d n k sh s z r aa ay ae eh iy ih ao ow uw w pau".split()
_FRAMES = 100  # of the acting that a still is one moment of
_LOUD = 0.2  # of speech, as root mean square
_SHOWN = 0.6  # level from which on an expression is clear


def babble(rng: np.random.Generator, frames: int) -> Floats:
    """Mouth shapes [frames, 16] of random sounds, with pauses."""
    sounds: list[Phoneme] = []
    now_s = 0.0
    while now_s < frames / FRAME_HZ:
        if rng.random() < 0.12:
            name, lasts_s = "pau", rng.uniform(0.2, 1.5)
        else:
            name, lasts_s = str(rng.choice(_SOUNDS)), rng.uniform(0.05, 0.16)
        now_s += lasts_s
        sounds.append(Phoneme(name, now_s))
    return viseme_track(sounds, frames)


def render_still(look: str, expression: int, number: int) -> np.ndarray:
    """Pixels [192, 192, 3] of a moment of random acting; equal arguments give equal pixels."""
    name = f"still:{look}:{expression}:{number}"
    rng = np.random.default_rng([BASE_SEED, VERSION, zlib.crc32(name.encode())])
    visemes = babble(rng, _FRAMES)
    loud = _LOUD * rng.random() * (visemes.max(1) > 0).astype(np.float32)
    acting = behave(rng, loud, expression)
    clear = np.flatnonzero(acting.level >= min(_SHOWN, float(acting.level.max())))
    moment = int(rng.choice(clear))
    return portrait(look).picture(acting.weights(moment, visemes[moment]), acting.pose[moment])


def cut_faces(frames: np.ndarray) -> torch.Tensor:
    """Faces uint8 [N, S, S, 3], as the reader sees them, of frames uint8 [N, H, W, 3]."""
    faces = ExpressionReader.face(to_signed(frames))
    return faces.movedim(1, -1).add(1).mul(127.5).round().clamp(0, 255).byte()


def render_stills(folder: Path, counts: dict[str, int], jobs: int) -> None:
    """Render what is missing: of each look so many stills of every expression, a file a look."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [(folder, look, n) for look, n in counts.items() if not _is_there(folder, look, n)]
    for _ in in_processes(_render_look, todo, jobs):
        pass


def load_stills(folder: Path, looks: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Faces uint8 [N, S, S, 3], as `cut_faces` makes them, and the expression of each [N]."""
    files = [np.load(_path(folder, look)) for look in looks]
    faces = torch.from_numpy(np.concatenate([file["faces"] for file in files]))
    return faces, torch.from_numpy(np.concatenate([file["expression"] for file in files]))


def _path(folder: Path, look: str) -> Path:
    return folder / f"{look}.npz"


def _is_there(folder: Path, look: str, count: int) -> bool:
    size = ExpressionReader.SIZE
    try:
        with _path(folder, look).open("rb") as file, np.load(file) as kept:
            shape = (count * len(EXPRESSIONS), size, size, 3)
            return int(kept["version"]) == VERSION and kept["faces"].shape == shape
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False


def _render_look(work: tuple[Path, str, int]) -> None:
    folder, look, count = work
    shown = np.arange(len(EXPRESSIONS)).repeat(count)
    pictures = [render_still(look, int(mood), k) for k, mood in enumerate(shown)]
    arrays: Arrays = {
        "faces": cut_faces(np.stack(pictures)).numpy(),
        "expression": shown,
        "version": np.array(VERSION),
    }
    save_clip(_path(folder, look), arrays)
