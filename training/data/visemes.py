"""From timed phonemes to mouth shapes: 16 ARKit weights per frame with coarticulation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from training.data.assets import Floats

CHANNELS: tuple[str, ...] = (
    "jawOpen", "mouthFunnel", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "tongueOut",
)  # fmt: skip
FRAME_HZ = 25
SAMPLE_HZ = 16_000
_WORK_HZ = 200
_LEAD_S = 0.03
"""Mouths move a little before the sound."""
_OPENING = [0, 1, 2, 3, 6, 13, 14, 15]
_COARTICULATION_S = 0.045
"""Spread of a mouth shape into its neighbours: jaws are slower than sounds."""
_EFFORT_GAIN, _EFFORT_JAW = (0.44, 1.0), 0.2
"""How far mouths open in the quietest and the loudest syllables, and what the loudest add."""
_EFFORT_DB, _EFFORT_FLOOR_DB, _EFFORT_LEAD_S = 25.0, -55.0, 0.04
_EFFORT_FRAMES = (8, 4)
"""Before and after a frame, what it is compared with: all that the viseme network hears of it."""


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
    "pout": _shape(mouthPucker=0.5, mouthFunnel=0.5, jawOpen=0.28),
}  # fmt: skip

_FLITE = {
    "rest": "pau sil ssil brth h#", "closed": "p b m", "bite": "f v", "between": "th dh",
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


# What English lacks, longest prefix first: rounded front vowels, nasal ones, palatal consonants.
_BEYOND_ENGLISH = (
    ("tS;", "hiss"), ("ts", "hiss"), ("dz", "hiss"), ("dZ;", "hiss"), ("S;", "hiss"),
    ("Z;", "hiss"), ("pF", "closed bite"), ("&U~", "half kiss"), ("&", "half"), ("EU", "half kiss"),
    ("iU", "smile kiss"), ("oI", "round smile"), ("OY", "round pout"), ("UR", "kiss half"),
    ("W", "pout"), ("Y", "pout"), ("y", "kiss"), ("C", "smile"), ("B", "closed"), ("Q", "back"),
    ("J^", "smile"), ("l^", "smile"), ("n^", "tip"), ("R", "tip"), ("r", "tip"), (";", "smile"),
    ("L", "tip"), ("J", "tip"), ("c", "tip"), ("q", "back"), ("X", "back"), ("#X1", "back"),
)  # fmt: skip
# What a mnemonic means in one language alone: tongue-tip and throat r, unrounded y.
_OWN: dict[str, tuple[tuple[str, str], ...]] = {
    "de": (("r", "back"), ("R", "back"), ("3", "half")),
    "es": (),
    "fr": (("r", "back"),),
    "it": (),
    "pt": (("y", "smile"),),
    "pl": (("y", "smile"),),
}


def shapes_of(name: str) -> list[str]:
    """Mouth shapes one sound goes through.

    flite's names are as they are, espeak-ng's are `e:NAME` in English and `CODE:NAME` in another
    language. Raises ValueError for a sound without a shape: a mouth must not rest because nobody
    has told what it does.
    """
    language, colon, sound = name.partition(":")
    if not colon:
        if name not in _BY_NAME:
            raise ValueError(f"flite's sound {name!r} has no mouth shape; add it to `_FLITE`")
        return [_BY_NAME[name], _GLIDE[name]] if name in _GLIDE else [_BY_NAME[name]]
    if language != "e" and language not in _OWN:
        raise ValueError(f"no mouth shapes for sounds of {language!r}; add them to `_OWN`")
    beyond = (_OWN.get(language, ()), _BEYOND_ENGLISH, _ESPEAK)
    tables = (_ESPEAK, _BEYOND_ENGLISH) if language == "e" else beyond
    for table in tables:
        for prefix, shapes in table:
            if sound.startswith(prefix):
                return shapes.split()
    raise ValueError(f"the sound {sound!r} of {language!r} has no mouth shape; add it to a table")


def viseme_track(phonemes: Sequence[Phoneme], frames: int, samples: Floats | None = None) -> Floats:
    """Weights [frames,16] of CHANNELS at the middle of each frame; p, b and m close the lips.

    With `samples` of the voice alone, -1..1 at 16 kHz, mouths open further where it is loud.
    """
    steps = int(frames / FRAME_HZ * _WORK_HZ) + _WORK_HZ
    target = np.zeros((steps, len(CHANNELS)), np.float32)
    closing, speaking = np.zeros(steps, np.float32), np.zeros(steps, np.float32)
    start_s = 0.0
    for sound in phonemes:
        first = int(max(0.0, start_s - _LEAD_S) * _WORK_HZ)
        last = int(max(0.0, sound.end_s - _LEAD_S) * _WORK_HZ)
        shapes = shapes_of(sound.name)
        for k, shape in enumerate(shapes):
            a, b = (first + (last - first) * (k + j) // len(shapes) for j in (0, 1))
            target[a:b] = SHAPES[shape]
        speaking[first:last] = shapes != ["rest"]
        if shapes == ["closed"]:
            spare = max(0, int(0.075 * _WORK_HZ) - (last - first)) // 2 + 1
            closing[max(0, first - spare) : last + spare] = 1
        start_s = sound.end_s
    smooth = gaussian_filter1d(target, _COARTICULATION_S * _WORK_HZ, axis=0)
    if samples is not None:
        effort = _effort(samples, frames, steps) * gaussian_filter1d(speaking, 0.03 * _WORK_HZ)
        low, high = _EFFORT_GAIN
        smooth[:, _OPENING] *= (low + (high - low) * effort)[:, None]
        smooth[:, CHANNELS.index("jawOpen")] += _EFFORT_JAW * effort
    shut = np.clip(gaussian_filter1d(closing, 0.014 * _WORK_HZ) * 1.25, 0, 1)[:, None]
    smooth[:, _OPENING] *= 1 - shut
    at = ((np.arange(frames) + 0.5) / FRAME_HZ * _WORK_HZ).astype(int)
    return np.where(smooth[at] < 0.004, 0, np.minimum(smooth[at], 1)).astype(np.float32)


def _effort(samples: Floats, frames: int, steps: int) -> Floats:
    """How loud the voice is among what is around it, 0..1 at `_WORK_HZ` [steps].

    A loud syllable is said with a wider mouth, however loud the clip is.
    """
    length = SAMPLE_HZ // FRAME_HZ
    power = np.square(samples[: frames * length].astype(np.float64))
    power = np.pad(power, (0, frames * length - len(power))).reshape(frames, length).mean(1)
    level = gaussian_filter1d(10 * np.log10(power + 1e-7), 1.0)
    before, after = _EFFORT_FRAMES
    span = before + after + 1
    # the window's middle is ahead of its frame by half of what it has more of behind
    loudest = maximum_filter1d(level, span, origin=(before - after) // 2)
    below = loudest - level
    share = np.clip(1 - below / _EFFORT_DB, 0, 1) * (level > _EFFORT_FLOOR_DB)
    at_s = np.arange(steps) / _WORK_HZ + _EFFORT_LEAD_S
    return np.interp(at_s, (np.arange(frames) + 0.5) / FRAME_HZ, share).astype(np.float32)
