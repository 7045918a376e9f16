"""How a head behaves in a clip: pose, gaze, blinks, brows and one expression with a plateau."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from rollcast.models.pocket.idle import NOD
from training.data.assets import Floats
from training.data.visemes import CHANNELS, FRAME_HZ

EXPRESSIONS: tuple[str, ...] = ("neutral", "smiling", "sad", "surprised", "angry", "sleepy")
_UNITS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smiling": {"mouthSmile": 0.78, "cheekSquint": 0.65, "eyeSquint": 0.35, "mouthDimple": 0.25,
                "browOuterUp": 0.12},
    "sad": {"mouthFrown": 0.85, "browInnerUp": 0.95, "eyeBlink": 0.16, "mouthShrugLower": 0.25},
    "surprised": {"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 1.0, "mouthFunnel": 0.12},
    "angry": {"browDown": 1.0, "noseSneer": 0.55, "eyeSquint": 0.45, "mouthPress": 0.3,
              "mouthFrown": 0.35},
    "sleepy": {"eyeBlink": 0.38, "browInnerUp": 0.12, "browDown": 0.12, "mouthFrown": 0.12},
}  # fmt: skip
_RAMP_S = 0.4
_BLINK = (0.35, 0.9, 1.0, 0.75, 0.4, 0.12)


@dataclass(frozen=True)
class Behaviour:
    """Controls of a clip of T frames."""

    pose: Floats
    """[T,5]: yaw, pitch, roll, gaze x, gaze y in radians; gaze is relative to the head."""
    blink: Floats
    brow: Floats
    expression: int
    level: Floats

    def weights(self, frame: int, visemes: Floats) -> dict[str, float]:
        """ARKit weights of one frame: mouth shapes [16], blink, brow, lids and expression."""
        total: dict[str, float] = {}
        for name, value in zip(CHANNELS, visemes, strict=True):
            _add(total, name, float(value))
        level = float(self.level[frame])
        # While the mouth speaks the expression's share of it steps back: lips stay legible.
        busy = min(1.0, float(visemes.max()) * 1.6)
        for name, value in _UNITS[EXPRESSIONS[self.expression]].items():
            share = 1 - 0.3 * busy if name.startswith("mouth") else 1.0
            _add(total, name, value * level * share)
        _add(total, "browInnerUp", 0.8 * float(self.brow[frame]))
        _add(total, "browOuterUp", 0.5 * float(self.brow[frame]))
        gaze_y = float(self.pose[frame, 4])
        _add(total, "eyeLookDown" if gaze_y < 0 else "eyeLookUp", min(1.0, abs(gaze_y) * 2.2))
        return _limit(total, float(self.blink[frame]))


def _add(total: dict[str, float], name: str, value: float) -> None:
    names = [name] if name in CHANNELS or name in _SINGLE else [f"{name}Left", f"{name}Right"]
    for one in names:
        total[one] = total.get(one, 0.0) + value


_SINGLE = ("browInnerUp", "mouthShrugLower", "mouthFunnel", "jawOpen", "tongueOut")


def _limit(total: dict[str, float], blink: float) -> dict[str, float]:
    for side in ("Left", "Right"):
        for name in (f"noseSneer{side}", f"mouthSmile{side}"):
            total[name] = min(total.get(name, 0.0), 1.0)
        open_lid = 1 - blink
        lid = total.get(f"eyeBlink{side}", 0.0)
        total[f"eyeBlink{side}"] = max(lid, lid * open_lid + blink)
        for name in ("eyeWide", "eyeSquint", "eyeLookDown", "eyeLookUp"):
            total[f"{name}{side}"] = total.get(f"{name}{side}", 0.0) * open_lid
    return {name: min(value, 1.1) for name, value in total.items() if abs(value) > 1e-3}


def _wander(rng: np.random.Generator, frames: int, sigma: float, size: float) -> Floats:
    """Smooth random motion with a standard deviation of about `size`."""
    noise = gaussian_filter1d(rng.normal(size=frames + 200), sigma)[100 : 100 + frames]
    return (size * noise * np.sqrt(2 * sigma * np.sqrt(np.pi))).astype(np.float32)


def _large_turn(rng: np.random.Generator, frames: int) -> Floats:
    """A look to one side of up to 25 degrees, held for a while."""
    angle = np.radians(rng.uniform(14, 25)) * rng.choice([-1, 1])
    start, hold = rng.integers(5, max(6, frames - 40)), rng.integers(12, 40)
    held = np.zeros(frames + 40, np.float32)
    held[start : start + hold] = angle
    return gaussian_filter1d(held, 5)[:frames].astype(np.float32)


def _blinks(rng: np.random.Generator, frames: int, often: float) -> Floats:
    blink = np.zeros(frames, np.float32)
    at = int(rng.integers(3, 50))
    while at < frames:
        for k, value in enumerate(_BLINK):
            if at + k < frames:
                blink[at + k] = value
        at += int(rng.integers(30, 110) / often)
    return blink


def _plateau(rng: np.random.Generator, frames: int) -> Floats:
    """Expression level: from the start or rising, one plateau, falling or to the end."""
    ramp = int(_RAMP_S * FRAME_HZ)
    height = rng.uniform(0.6, 1.0)
    start = -ramp if rng.random() < 0.4 else int(rng.integers(3, max(6, frames // 3)))
    stop = (
        frames + ramp
        if rng.random() < 0.5
        else int(rng.integers(frames // 2, max(frames // 2 + 1, frames - 5)))
    )
    t = np.arange(frames)
    rise, fall = np.clip((t - start) / ramp, 0, 1), np.clip((stop - t) / ramp, 0, 1)
    edge = np.minimum(rise, fall)
    return (height * edge * edge * (3 - 2 * edge)).astype(np.float32)


def behave(rng: np.random.Generator, loud: Floats, expression: int) -> Behaviour:
    """Random behaviour for the loudness per frame [T] of a clip and one expression index."""
    frames = len(loud)
    name = EXPRESSIONS[expression]
    energy = np.clip(gaussian_filter1d(loud, 3) * 4, 0, 1)
    level = _plateau(rng, frames) if expression else np.zeros(frames, np.float32)
    calm = 0.6 if name == "sleepy" else 1.0
    yaw = _wander(rng, frames, 18, 0.13) * calm
    if rng.random() < 0.35:
        yaw = np.clip(yaw + _large_turn(rng, frames), -0.46, 0.46)
    pitch = np.clip(_wander(rng, frames, 14, 0.065), -0.2, 0.2) + 0.05 * energy
    pitch = pitch + NOD.get(name, 0.0) * level
    roll = np.clip(_wander(rng, frames, 20, 0.05), -0.16, 0.16)
    gaze_x = np.clip(_wander(rng, frames, 7, 0.14) - 0.6 * yaw, -0.42, 0.42)
    gaze_y = np.clip(_wander(rng, frames, 8, 0.08) + 0.4 * pitch, -0.25, 0.25)
    brow = np.clip(_wander(rng, frames, 15, 0.14) + 0.55 * energy - 0.1, 0, 0.9)
    pose = np.stack([yaw, pitch, roll, gaze_x, gaze_y], 1).astype(np.float32)
    blink = _blinks(rng, frames, 1.5 if name == "sleepy" else 1.0)
    return Behaviour(pose, blink, brow.astype(np.float32), expression, level)
