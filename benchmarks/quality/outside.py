"""`rollcast bench quality --outside`: lips judged by somebody else's network.

Face Mesh, made from photographs of people, knows nothing of our renderer nor of how the model was
trained. It reads how far the lips are apart in the frames of each look, and of portraits, that say
recordings of a person; that is held against the loudness of the whole voice, since no true gap is
known. The voice may lead or follow by a frame.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...models.contract import Controls, StreamRequest
from ...models.face.finder import Square, square_around, trace
from ...models.face.placement import EYES
from ...models.picture import placed
from ...models.pocket.evaluation.signals import agreement, to_levels, to_signed
from ...models.pocket.evaluation.watch import Watch
from ...models.staged_model import StagedModel
from .human import decode, recordings
from .strangers import MOUTHS, draw_strangers

LAGS = (-1, 0, 1)
"""Frames by which the lips may be late."""
_LIPS = ((82, 87), (13, 14), (312, 317))
"""Points of Face Mesh on the inner edges of the lips, upper and lower."""
_SECONDS = 24.0
"""Of recordings that every look says, with a pause behind each."""
_PAUSE_S = 0.6
_FLOOR_DB, _SMOOTH_FRAMES = 35, 3
_QUIET_DB, _PAUSE_FRAMES = 3, 4
"""A pause is so quiet, over the floor, for so long."""
_CLOSED = 0.35
"""Of the gap that a tenth of the frames of speech exceeds: what a closed mouth is below."""
_BATCH = 16


@torch.inference_mode()
def measure_outside(
    model: StagedModel[Any],
    looks: Sequence[str],
    folder: Path,
    portraits: Sequence[Path] = (),
    strangers: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """By look, and by the name of each portrait: how well its lips follow the loudness of the
    recordings in `folder`, the lag at which they do, and the share of pauses with closed lips.

    So many rendered `strangers` bring two pictures each; their figures are apart, by what the
    mouths of the pictures do. Raises ValueError if there are no recordings of two seconds, if a
    face is lost, or if strangers cannot be rendered.
    """
    watch = Watch(model)
    audio = _speech(folder, watch.sample_rate)
    guide = model.info.inputs.picture
    assert guide is not None, "a model that is judged so takes pictures"
    rows: dict[str, Any] = {}
    for look in looks:
        say(look)
        rows[look] = _judged(look, watch, StreamRequest(scene=look), audio)

    def judged(path: Path) -> dict[str, Any]:
        say(path.stem)
        square, _ = placed(path.read_bytes(), guide)
        return _judged(path.stem, watch, StreamRequest(picture=square), audio)

    rows |= {path.stem: judged(path) for path in portraits}
    unknown: dict[str, Any] = {}
    if strangers:
        with tempfile.TemporaryDirectory() as drawn:
            paths = draw_strangers(Path(drawn), strangers)
            unknown = {path.stem: judged(path) for path in paths}
    scores = [row["agreement"] for row in rows.values()]
    closed = [row["closed_in_pauses"] for row in rows.values()]
    return {
        "agreement": float(np.mean(scores)),
        "agreement_worst": min(scores),
        "closed_in_pauses": None if None in closed else float(np.mean(closed)),
        "strangers": {mouth: _of_mouth(mouth, unknown) for mouth in MOUTHS} if unknown else None,
        "details": {"faces": rows | unknown, "seconds": len(audio) / watch.sample_rate},
    }


def _of_mouth(mouth: str, rows: dict[str, Any]) -> dict[str, float]:
    """What strangers have in common whose pictures show such a mouth."""
    chosen = [row for name, row in rows.items() if name.startswith(mouth)]
    scores = [row["agreement"] for row in chosen]
    closed = [row["closed_in_pauses"] or 0.0 for row in chosen]
    return {
        "agreement": float(np.mean(scores)),
        "agreement_worst": min(scores),
        "closed_in_pauses": float(np.mean(closed)),
    }


def _judged(name: str, watch: Watch, request: StreamRequest, audio: np.ndarray) -> dict[str, Any]:
    model = watch.model
    gaps, sure = lip_gaps(to_levels(_spoken(watch, request, audio)))
    if float(np.median(sure)) < 0.5:
        raise ValueError(f"Face Mesh sees no face in the frames of {name}")
    heard = loudness_above(audio, model.info.fps, watch.sample_rate)
    length = min(len(gaps), len(heard))
    gap, level = torch.from_numpy(gaps[:length]), torch.from_numpy(heard[:length])
    scores = {lag: _at(lag, gap, level) for lag in LAGS}
    lag = max(scores, key=lambda each: scores[each])
    return {"agreement": scores[lag], "lag_frames": lag, "closed_in_pauses": _closed(gap, level)}


def _spoken(watch: Watch, request: StreamRequest, audio: np.ndarray) -> Tensor:
    """As `Watch.speak`, of any request."""
    model, samples = watch.model, watch.model.info.chunk_samples
    state, late = model.start(request), watch.late_chunks
    count = -(-len(audio) // samples) + late
    padded = np.pad(audio, (0, count * samples - len(audio)))
    chunks = [
        watch.step(state, Controls(audio=padded[k * samples : (k + 1) * samples]))
        for k in range(count)
    ]
    return torch.cat([to_signed(chunk.frames) for chunk in chunks[late:]])


def lip_gaps(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the lips are apart over the distance of the eyes [T], and how sure it is that there
    is a face [T], 0..1, of frames uint8 [T, H, W, 3]."""
    height, width = frames.shape[1:3]
    around = Square(width / 2, height / 2, float(min(height, width)))
    for _ in range(2):
        points, _ = trace(frames[:1], around)
        around = square_around(points[0])
    read = [trace(frames[k : k + _BATCH], around) for k in range(0, len(frames), _BATCH)]
    points = np.concatenate([each for each, _ in read])
    gaps = np.mean([_far(points, above, below) for above, below in _LIPS], 0)
    left, right = (points[:, list(pair)].mean(1) for pair in EYES)
    apart = np.hypot(*(right - left).T)
    return (gaps / apart).astype(np.float32), np.concatenate([sure for _, sure in read])


def loudness_above(audio: np.ndarray, fps: int, sample_rate: int) -> np.ndarray:
    """Loudness of the whole band, dB over a floor 35 below the loudest [T], of int16 samples."""
    length = sample_rate // fps
    frames = len(audio) // length
    sound = np.pad(audio.astype(np.float64), (length // 2, length))
    power = np.array([(sound[t * length : (t + 2) * length] ** 2).mean() for t in range(frames)])
    decibels = 10 * np.log10(power + 1.0)
    above = np.maximum(decibels - decibels.max() + _FLOOR_DB, 0)
    kernel = np.ones(_SMOOTH_FRAMES) / _SMOOTH_FRAMES
    return np.convolve(above, kernel, "same").astype(np.float32)


def _at(lag: int, gap: Tensor, level: Tensor) -> float:
    """Agreement of lips that are `lag` frames late."""
    if lag < 0:
        return _at(-lag, level, gap)
    return agreement(gap[lag:], level[: len(level) - lag])


def _closed(gap: Tensor, level: Tensor) -> float | None:
    """The share of the frames deep inside pauses in which the lips are closed; None: no pauses."""
    quiet = (level < _QUIET_DB).float()
    deep = quiet.unfold(0, _PAUSE_FRAMES, 1).amin(1) > 0
    if not bool(deep.any()):
        return None
    spoken = gap[level >= _QUIET_DB]
    inside = gap[_PAUSE_FRAMES - 1 :][deep]
    return float((inside < _CLOSED * torch.quantile(spoken, 0.9)).float().mean())


def _far(points: np.ndarray, above: int, below: int) -> np.ndarray:
    return np.hypot(*(points[:, above] - points[:, below]).T)


def _speech(folder: Path, sample_rate: int) -> np.ndarray:
    """Recordings one after the other, as many as make up `_SECONDS`."""
    pause = np.zeros(round(_PAUSE_S * sample_rate), np.int16)
    parts: list[np.ndarray] = []
    for path in recordings(folder):
        audio = decode(path)
        if len(audio) < 2 * sample_rate:
            continue
        parts += [audio, pause]
        if sum(map(len, parts)) >= _SECONDS * sample_rate:
            break
    if not parts:
        raise ValueError(f"{folder} has no recording of two seconds or more")
    return np.concatenate(parts)[: round(_SECONDS * sample_rate)]
