"""Watches one stream of a variant: passages at marks in time, and a curve between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...models.pocket.conditions import unpack_latents
from ...models.pocket.evaluation.evaluation_set import QualitySet
from ...models.pocket.evaluation.signals import agreement, motion, sharpness, to_signed
from .speech import Speech, speech_of
from .stream import Made, VariantModel, VariantStream, median_ms
from .variants import TAUGHT

# prime to the period of speech, so that every part of it is met
_CURVE_EVERY = 13
CURVE = "curve"


class Judge:
    """Who is seen: distances of frames from what each look shows at its very start.

    Features come from the evaluation set's network for looks. A distance is a share of that to
    the nearest look of somebody else, at which a person would be taken for that one.
    """

    def __init__(self, reference: QualitySet) -> None:
        self.reference = reference
        model = VariantModel(TAUGHT)
        stills = [_first_frame(model, look.name) for look in reference.looks]
        self._own = reference.faces.features(to_signed(np.concatenate(stills)))

    def distance(self, look: int, frames: np.ndarray) -> float:
        """The mean over uint8 `frames` [T, H, W, 3]."""
        seen = self.reference.faces.features(to_signed(frames))
        return float((seen - self._own[look]).norm(dim=1).mean()) / self._apart(look)

    def _apart(self, look: int) -> float:
        person = self.reference.looks[look].identity
        others = [k for k, each in enumerate(self.reference.looks) if each.identity != person]
        return float((self._own[others] - self._own[look]).norm(dim=1).min())


def _first_frame(model: VariantModel, look: str) -> np.ndarray:
    stream = VariantStream(model, look, np.zeros(0, np.int16))
    return stream.frames(next(stream.chunks(1)))[:1]


@dataclass(slots=True)
class _Passage:
    """What was seen and computed while the passage was shown once."""

    frames: list[np.ndarray] = field(default_factory=list)
    chunks: list[Tensor] = field(default_factory=list)

    @property
    def latents(self) -> Tensor:
        """Of its frames, [T, 28, 8, 8]."""
        return unpack_latents(torch.cat(self.chunks, 1))[0]


@dataclass(frozen=True, slots=True)
class Watched:
    """The report of a stream, plain values, and the frames of its last passage [T, H, W, 3].

    `latents` are those of each passage's frames [T, 28, 8, 8], by mark, and those of the curve's
    chunks [N, 112, 8, 8] as `CURVE`.
    """

    report: dict[str, Any]
    frames: np.ndarray
    latents: dict[str, np.ndarray]


@torch.inference_mode()
def watch(judge: Judge, model: VariantModel, look: int, minutes: float) -> Watched:
    """Stream `look` for so long, at least to the end of its first passage."""
    entry, info = judge.reference.looks[look], model.info
    speech = speech_of(judge.reference, look, info)
    chunks = max(round(minutes * 60e6 / info.chunk_us), speech.first + speech.length)
    marks = speech.marks(chunks, info)
    passages = {name: _Passage() for name in marks}
    curve: dict[str, list[float]] = {"s": [], "identity": [], "dynamics": []}
    stream = VariantStream(model, entry.name, speech.audio)
    student_s: list[float] = []
    sampled: list[Tensor] = []
    for made in stream.chunks(chunks):
        student_s.append(made.student_s)
        present = [passages[n] for n in _under_way(marks, speech.length, made)]
        for passage in present:
            passage.chunks.append(made.latents)
        on_curve = made.index % _CURVE_EVERY == 0
        frames = stream.frames(made) if present or on_curve else None
        if frames is None:
            continue
        for passage in present:
            passage.frames.append(frames)
        if on_curve:
            sampled.append(made.latents[0])
            curve["s"].append(made.index * info.chunk_us / 1e6)
            curve["identity"].append(judge.distance(look, frames))
            curve["dynamics"].append(motion(to_signed(frames)) / entry.motion)
    first, last = (list(passages.values())[k] for k in (0, -1))
    cost_ms = {"student": median_ms(student_s), "decode": median_ms(stream.decode_s)}
    report = {
        "marks": {n: _measured(judge, look, speech, p, first) for n, p in passages.items()},
        "identity_slope": float(np.polyfit(curve["s"], curve["identity"], 1)[0]) * curve["s"][-1],
        "ms": cost_ms,
        "rtf": sum(cost_ms.values()) / (info.chunk_us / 1e3),
        "curve": curve,
    }
    latents = {name: passage.latents.numpy() for name, passage in passages.items()}
    latents[CURVE] = torch.cat(sampled).numpy()
    return Watched(report, np.concatenate(last.frames), latents)


def _under_way(marks: dict[str, int], length: int, made: Made) -> Iterator[str]:
    for name, start in marks.items():
        if start <= made.index < start + length:
            yield name


def _measured(
    judge: Judge, look: int, speech: Speech, passage: _Passage, first: _Passage
) -> dict[str, float | None]:
    """A passage's figures; those of pictures are over the rendered ones'."""
    entry = judge.reference.looks[look]
    shown = np.concatenate(passage.frames)
    frames = to_signed(shown)
    whole, mouth = sharpness(frames)
    shift, spread = _drift(passage.latents, first.latents)
    sync = amplitude = None
    if speech.gap is not None:
        read = judge.reference.mouth(frames)[: len(speech.gap)]
        sync = agreement(read, speech.gap[: len(read)])
        amplitude = float(read.std()) / speech.spread
    return {
        "lip_sync": sync,
        "mouth_amplitude": amplitude,
        "dynamics": motion(frames) / entry.motion,
        "sharpness": whole / entry.sharpness,
        "mouth_sharpness": mouth / entry.mouth_sharpness if entry.is_avatar else None,
        "identity": judge.distance(look, shown),
        "latent_shift": shift,
        "latent_spread": spread,
    }


def _drift(after: Tensor, before: Tensor) -> tuple[float, float]:
    """How far the channels' means moved, root mean square in training's standard deviations.

    And the ratio of the deviations around them.
    """
    moved = after.mean((0, 2, 3)) - before.mean((0, 2, 3))
    spread = after.std((0, 2, 3)).mean() / before.std((0, 2, 3)).mean()
    return float(moved.square().mean().sqrt()), float(spread)
