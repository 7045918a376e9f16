"""From timed phonemes to mouth shapes: 16 ARKit weights per frame with coarticulation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from training.data.assets import Floats

CHANNELS: tuple[str, ...] = (
    "jawOpen", "mouthFunnel", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "tongueOut",
)  # fmt: skip
FRAME_HZ = 25
_WORK_HZ = 200
_LEAD_S = 0.03
"""Mouths move a little before the sound."""
_OPENING = [0, 1, 2, 3, 6, 13, 14, 15]


@dataclass(frozen=True)
class Phoneme:
    """A sound and when it ends, in seconds from the start of the clip."""

    name: str
    end_s: float


def _shape(**weights: float) -> Floats:
    """Weights by ARKit name; a name without Left/Right sets both sides."""
    row = np.zeros(len(CHANNELS), np.float32)
    for name, weight in weights.items():
        for k, channel in enumerate(CHANNELS):
            if channel in (name, f"{name}Left", f"{name}Right"):
                row[k] = weight
    return row


SHAPES: dict[str, Floats] = {
    "rest": _shape(),
    "closed": _shape(mouthPress=0.5, mouthRollLower=0.32, mouthRollUpper=0.3),
    "bite": _shape(mouthRollLower=0.7, mouthUpperUp=0.32, jawOpen=0.05),
    "between": _shape(jawOpen=0.2, tongueOut=0.36, mouthLowerDown=0.22, mouthUpperUp=0.1),
    "tip": _shape(jawOpen=0.18, mouthUpperUp=0.22, mouthLowerDown=0.3),
    "back": _shape(jawOpen=0.26, mouthLowerDown=0.28, mouthStretch=0.14),
    "hush": _shape(mouthFunnel=0.7, jawOpen=0.13, mouthPucker=0.25, mouthLowerDown=0.2),
    "hiss": _shape(mouthStretch=0.36, jawOpen=0.07, mouthLowerDown=0.42, mouthUpperUp=0.28),
    "curl": _shape(mouthFunnel=0.42, jawOpen=0.17, mouthPucker=0.22),
    "wide": _shape(jawOpen=0.78, mouthLowerDown=0.25, mouthUpperUp=0.2),
    "half": _shape(jawOpen=0.46, mouthStretch=0.32, mouthSmile=0.16, mouthLowerDown=0.3),
    "smile": _shape(jawOpen=0.2, mouthSmile=0.38, mouthStretch=0.32, mouthLowerDown=0.34,
                    mouthUpperUp=0.24),
    "round": _shape(jawOpen=0.55, mouthFunnel=0.72),
    "kiss": _shape(mouthPucker=0.85, mouthFunnel=0.35, jawOpen=0.15),
}  # fmt: skip

_FLITE = {
    "rest": "pau sil ssil h#", "closed": "p b m", "bite": "f v", "between": "th dh",
    "tip": "t d n l", "back": "k g ng hh", "hush": "sh zh ch jh", "hiss": "s z", "curl": "r er",
    "wide": "aa ah ay aw", "half": "ae eh ax ey", "smile": "ih iy y", "round": "ao ow oy",
    "kiss": "uw uh w",
}  # fmt: skip
_GLIDE = {"ay": "smile", "aw": "kiss", "ey": "smile", "ow": "kiss", "oy": "smile"}
_BY_NAME = {sound: shape for shape, sounds in _FLITE.items() for sound in sounds.split()}

# espeak-ng's own mnemonics, longest prefix first.
_ESPEAK = (
    ("tS", "hush"), ("dZ", "hush"), ("aI", "wide smile"), ("aU", "wide kiss"),
    ("OI", "round smile"),
    ("eI", "half smile"), ("oU", "round kiss"), ("3", "curl"), ("@L", "half tip"), ("e@", "half"),
    ("i@", "smile half"), ("U@", "kiss half"), ("O@", "round"), ("o@", "round"), ("A@", "wide"),
    ("A", "wide"), ("a", "wide"), ("V", "wide"), ("0", "round"), ("O", "round"), ("o", "round"),
    ("E", "half"), ("e", "half"), ("@", "half"), ("I", "smile"), ("i", "smile"), ("U", "kiss"),
    ("u", "kiss"), ("w", "kiss"), ("j", "smile"), ("p", "closed"), ("b", "closed"), ("m", "closed"),
    ("f", "bite"), ("v", "bite"), ("T", "between"), ("D", "between"), ("t", "tip"), ("d", "tip"),
    ("n", "tip"), ("N", "back"), ("l", "tip"), ("k", "back"), ("g", "back"), ("x", "back"),
    ("h", "back"), ("S", "hush"), ("Z", "hush"), ("s", "hiss"), ("z", "hiss"), ("r", "curl"),
    ("*", "tip"), ("?", "rest"), ("_", "rest"),
)  # fmt: skip


def shapes_of(name: str) -> list[str]:
    """Mouth shapes one sound goes through; flite names as they are, espeak names as `e:NAME`."""
    if name.startswith("e:"):
        for prefix, shapes in _ESPEAK:
            if name[2:].startswith(prefix):
                return shapes.split()
        return ["rest"]
    first = _BY_NAME.get(name, "rest")
    return [first, _GLIDE[name]] if name in _GLIDE else [first]


def viseme_track(phonemes: Sequence[Phoneme], frames: int) -> Floats:
    """Weights [frames,16] of CHANNELS at the middle of each frame; p, b and m close the lips."""
    steps = int(frames / FRAME_HZ * _WORK_HZ) + _WORK_HZ
    target = np.zeros((steps, len(CHANNELS)), np.float32)
    closing = np.zeros(steps, np.float32)
    start_s = 0.0
    for sound in phonemes:
        first = int(max(0.0, start_s - _LEAD_S) * _WORK_HZ)
        last = int(max(0.0, sound.end_s - _LEAD_S) * _WORK_HZ)
        shapes = shapes_of(sound.name)
        for k, shape in enumerate(shapes):
            a, b = (first + (last - first) * (k + j) // len(shapes) for j in (0, 1))
            target[a:b] = SHAPES[shape]
        if shapes == ["closed"]:
            spare = max(0, int(0.075 * _WORK_HZ) - (last - first)) // 2 + 1
            closing[max(0, first - spare) : last + spare] = 1
        start_s = sound.end_s
    smooth = gaussian_filter1d(target, 0.030 * _WORK_HZ, axis=0)
    shut = np.clip(gaussian_filter1d(closing, 0.014 * _WORK_HZ) * 1.25, 0, 1)[:, None]
    smooth[:, _OPENING] *= 1 - shut
    at = ((np.arange(frames) + 0.5) / FRAME_HZ * _WORK_HZ).astype(int)
    return np.where(smooth[at] < 0.004, 0, smooth[at]).astype(np.float32)
