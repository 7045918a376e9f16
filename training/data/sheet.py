"""Contact sheet of a data set's looks and scenes, for judging by eye."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.data.behaviour import EXPRESSIONS, Behaviour
from training.data.clips import portrait, scene
from training.data.plan import Preset
from training.data.scenes import wander
from training.data.visemes import CHANNELS, SHAPES

_CELL = 160
_POSES = ((0.40, 0.0), (-0.40, 0.0), (0.15, 0.17), (-0.15, -0.14))
_MOUTHS = ("closed", "bite", "between", "hiss", "wide", "round", "kiss")
_COLUMNS = 1 + len(_POSES) + len(_MOUTHS) + len(EXPRESSIONS)


def _one(expression: int, level: float, pose: tuple[float, float], brow: float = 0.0) -> Behaviour:
    angles = np.array([[pose[0], pose[1], 0.0, -0.5 * pose[0], 0.0]], np.float32)
    single = np.array([level], np.float32)
    return Behaviour(
        angles, np.zeros(1, np.float32), np.full(1, brow, np.float32), expression, single
    )


def _look_row(name: str) -> list[npt.NDArray[np.uint8]]:
    renderer = portrait(name)
    rest = np.zeros(len(CHANNELS), np.float32)
    cases = [(_one(0, 0, pose), rest) for pose in _POSES]
    cases += [(_one(0, 0, (0.12, 0.0)), SHAPES[mouth]) for mouth in _MOUTHS]
    cases += [(_one(k, 1, (-0.1, 0.0)), rest) for k in range(1, len(EXPRESSIONS))]
    cases.append((_one(1, 1, (0.1, 0.05)), SHAPES["half"]))
    frames = [renderer.render(acting.weights(0, mouth), acting.pose[0]) for acting, mouth in cases]
    return [renderer.reference_image(), *(f.pixels for f in frames)]


def _scene_row(name: str) -> list[npt.NDArray[np.uint8]]:
    renderer = scene(name)
    positions, angles = wander(np.random.default_rng(7), renderer.spec, 100)
    times = np.linspace(0, 99, _COLUMNS - 1).astype(int)
    return [
        renderer.reference_image(),
        *(renderer.render(positions[t], angles[t]).pixels for t in times),
    ]


def draw_sheet(preset: Preset) -> Image.Image:
    """One row per look and scene: reference first, then poses, mouths, expressions or times."""
    rows = [_look_row(name) for name in preset.looks] + [_scene_row(name) for name in preset.scenes]
    sheet = Image.new("RGB", (_CELL * _COLUMNS, _CELL * len(rows)))
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            cell = Image.fromarray(pixels).resize((_CELL, _CELL), Image.Resampling.LANCZOS)
            sheet.paste(cell, (x * _CELL, y * _CELL))
    return sheet
