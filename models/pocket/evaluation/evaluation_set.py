"""The packed evaluation set: held-out speech with its true lip gaps, networks, real statistics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from torch import Tensor, from_numpy, nn

from ...wan.weights import write_weights
from .readers import ExpressionReader, FrameReader, MouthMeter

SET = Path(__file__).resolve().parents[1] / "assets" / "quality.safetensors"
# over so many frames in a row an expression is read: a blink, which hides it, is shorter
EXPRESSION_FRAMES = 8
_MU = 255.0


@dataclass(frozen=True, slots=True)
class SetLook:
    """A look and the statistics of its rendered, held-out frames; `motion` is of learnt ones too.

    `points` are what can be dragged: (x, y, radius) in shares of the width. If the camera pans,
    the last one is of the background, and may be dragged by `pan` (x, y) at most. `closed` and
    `opened` are the mouth meter's readings of closed and of open real mouths.
    """

    name: str
    kind: str
    identity: str
    attributes: tuple[str, ...]
    points: tuple[tuple[float, float, float], ...]
    sharpness: float = 1.0
    mouth_sharpness: float = 1.0
    motion: float = 1.0
    closed: float = 0.0
    opened: float = 1.0
    pan: tuple[float, float] | None = None

    @property
    def is_avatar(self) -> bool:
        """Whether it speaks."""
        return self.kind == "avatar"


@dataclass(frozen=True, slots=True)
class SetClip:
    """Held-out speech: int16 samples, the rendered face's lip gap [T] in px, how far it read.

    Of its words training had none; `known_voice` is whether it had the voice.
    """

    look: int
    audio: np.ndarray
    gap: Tensor
    spread: float
    language: str = "en"
    known_voice: bool = False


@dataclass(frozen=True, slots=True)
class QualitySet:
    """Everything that the bench compares a model with."""

    size: int
    looks: tuple[SetLook, ...]
    expressions: tuple[str, ...]
    clips: tuple[SetClip, ...]
    mouth: MouthMeter
    faces: FrameReader
    moods: ExpressionReader
    measures: dict[str, float]

    def save(self, path: Path) -> None:
        """Write one file: weights as float16, speech in 8 bit."""
        tensors: dict[str, Tensor] = {
            "audio": from_numpy(np.stack([compress(clip.audio) for clip in self.clips])),
            "gap": from_numpy(np.stack([clip.gap.numpy() for clip in self.clips])).half(),
        }
        for prefix, net in self._nets().items():
            for key, value in net.state_dict().items():
                tensors[f"{prefix}.{key}"] = value.half().contiguous()
        plain = {
            "size": self.size,
            "looks": [asdict(look) for look in self.looks],
            "expressions": self.expressions,
            "clips": [
                (clip.look, clip.spread, clip.language, clip.known_voice) for clip in self.clips
            ],
            "measures": self.measures,
        }
        write_weights(tensors, path, {"set": json.dumps(plain)})

    def _nets(self) -> dict[str, nn.Module]:
        return {"mouth": self.mouth, "faces": self.faces, "moods": self.moods}

    @classmethod
    def read(cls, path: Path = SET) -> QualitySet:
        """Load a set. Raises FileNotFoundError when it is not there."""
        if not path.exists():
            raise FileNotFoundError(f"{path.name} is missing; make it with: training.measures")
        with safe_open(path, "pt") as file:
            plain: dict[str, Any] = json.loads((file.metadata() or {})["set"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        clips = tuple(
            SetClip(look, expand(audio.numpy()), gap.float(), spread, *spoken)
            for (look, spread, *spoken), audio, gap in zip(
                plain["clips"], tensors["audio"], tensors["gap"], strict=True
            )
        )
        made = cls(
            size=plain["size"],
            looks=tuple(_look(entry) for entry in plain["looks"]),
            expressions=tuple(plain["expressions"]),
            clips=clips,
            mouth=MouthMeter(),
            faces=FrameReader(len(plain["looks"])),
            moods=ExpressionReader(len(plain["expressions"])),
            measures=plain["measures"],
        )
        for prefix, net in made._nets().items():
            start = f"{prefix}."
            own = {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
            net.load_state_dict({k: t.float() for k, t in own.items()})
            net.eval().requires_grad_(False)
        return made

    def expression(self, frames: Tensor) -> int:
        """Which of `expressions` frames in a row, -1..1 [T, 3, H, W], show together."""
        return int(self.moods(frames).mean(0).argmax())

    def rows(self, names: Sequence[str]) -> list[int]:
        """Which of `looks` have these names. Raises ValueError for one that none has."""
        known = [look.name for look in self.looks]
        for name in names:
            if name not in known:
                raise ValueError(f"unknown look {name!r}; the set has {', '.join(known)}")
        return [known.index(name) for name in names]

    def speech_of(self, look: int) -> list[SetClip]:
        """The English clips of one look."""
        return [clip for clip in self.clips if clip.look == look and clip.language == "en"]

    def foreign(self, looks: Sequence[int]) -> list[SetClip]:
        """The clips of some looks that are in other languages."""
        return [clip for clip in self.clips if clip.look in looks and clip.language != "en"]


def _look(entry: dict[str, Any]) -> SetLook:
    points = tuple((x, y, radius) for x, y, radius in entry["points"])
    pan = entry.get("pan")
    made = {
        "attributes": tuple(entry["attributes"]),
        "points": points,
        "pan": None if pan is None else tuple(pan),
    }
    return SetLook(**{**entry, **made})


def compress(audio: np.ndarray) -> np.ndarray:
    """int16 samples -> 8-bit mu-law codes (ITU-T G.711's curve); silence stays silence."""
    x = audio.astype(np.float64) / 32768
    curve = np.sign(x) * np.log1p(_MU * np.abs(x)) / np.log1p(_MU)
    return np.rint(127 * curve + 127).astype(np.uint8)


def expand(codes: np.ndarray) -> np.ndarray:
    """The inverse of `compress`, as int16."""
    curve = codes.astype(np.float64) / 127 - 1
    x = np.sign(curve) * np.expm1(np.abs(curve) * np.log1p(_MU)) / _MU
    return np.clip(np.rint(32768 * x), -32768, 32767).astype(np.int16)
