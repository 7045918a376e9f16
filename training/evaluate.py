"""Measure the shipped model as a viewer meets it, by streaming: `python -m training.evaluate`.

Held-out text and voice go in as audio, frames come out; nothing but the public `step` is used.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from rollcast.benchmarks.quality_nets import MouthMeter
from rollcast.benchmarks.quality_signals import laplacian_energy, to_signed
from rollcast.models.pocket.audio import CHUNK_SAMPLES
from rollcast.models.pocket.model import PocketModel
from rollcast.models.stream import Controls, TrackEvent

from .clips import Clips, Look, load_index, load_looks
from .losses import MOUTH_BOX, box_mask
from .visemes import correlation

_LATE_S = 60


def speak(model: PocketModel, look: str, audio: np.ndarray, seed: int = 0) -> Tensor:
    """Frames -1..1 [T, 3, H, W] of an avatar that speaks `audio`, aligned to it."""
    state = model.start(seed=seed, scene=look)
    chunks = -(-len(audio) // CHUNK_SAMPLES)
    pieces = []
    for k in range(chunks + 1):
        piece = audio[k * CHUNK_SAMPLES : (k + 1) * CHUNK_SAMPLES]
        chunk = model.step(state, Controls(audio=piece))
        if k:  # the first chunk shows what came before the audio: nothing
            pieces.append(chunk.frames)
    return to_signed(torch.from_numpy(np.concatenate(pieces)))


def lip_sync(
    model: PocketModel, clips: Clips, looks: list[Look], meter: MouthMeter
) -> dict[str, Any]:
    """Correlation of the lip gap read from pixels with the true one, by look."""
    rows = [n for n in range(len(clips)) if clips.audio[n] is not None]
    read: dict[int, Tensor] = {}
    by_look: dict[str, list[float]] = {}
    amplitude: dict[str, list[float]] = {}
    for n in rows:
        audio = clips.audio[n]
        assert audio is not None
        name = looks[int(clips.look[n])].name
        read[n] = meter(speak(model, name, audio)[: clips.length])
        by_look.setdefault(name, []).append(correlation(read[n], clips.lip_gap[n]))
        real = meter(to_signed(clips.frames[n]))
        amplitude.setdefault(name, []).append(float(read[n].std() / real.std()))
    wrong = [
        correlation(read[n], clips.lip_gap[m])
        for n, m in zip(rows, rows[3:] + rows[:3], strict=True)
    ]
    lags = {}
    for lag in range(-3, 4):
        scores = [
            correlation(
                read[n][max(0, lag) : clips.length + min(0, lag)],
                clips.lip_gap[n][max(0, -lag) : clips.length - max(0, lag)],
            )
            for n in rows
        ]
        lags[lag] = float(np.mean(scores))
    scores = {name: float(np.mean(values)) for name, values in by_look.items()}
    return {
        "lip_sync": float(np.mean(list(scores.values()))),
        "lip_sync_by_look": scores,
        "lip_sync_wrong_audio": float(np.mean(wrong)),
        "lip_lag_frames": max(lags, key=lambda lag: lags[lag]),
        "mouth_amplitude_by_look": {k: float(np.mean(v)) for k, v in amplitude.items()},
        "meter_on_real": float(
            np.mean(
                [correlation(meter(to_signed(clips.frames[n])), clips.lip_gap[n]) for n in rows]
            )
        ),
    }


def steadiness(model: PocketModel, clips: Clips, looks: list[Look]) -> dict[str, Any]:
    """Sharpness against real frames, and drift from the reference, after 1 s and after 60 s."""
    result: dict[str, Any] = {}
    for k, look in enumerate(looks):
        if not look.is_avatar:
            continue
        rows = (clips.look == k).nonzero()[:, 0].tolist()
        audio = np.concatenate([clips.audio[n] for n in rows if clips.audio[n] is not None])
        repeats = -(-_LATE_S * 16_000 // len(audio))
        frames = speak(model, look.name, np.tile(audio, repeats))
        real = torch.cat([to_signed(clips.frames[n]) for n in rows])
        boxes = torch.cat([clips.boxes[n] for n in rows])
        early, late = frames[: len(real)], frames[-len(real) :]
        result[look.name] = {
            "sharp_1s": _sharpness(early, real),
            "sharp_60s": _sharpness(late, real),
            "mouth_sharp_60s": _sharpness(late, real, boxes),
            "distance_1s": float((early - look.reference).abs().mean()),
            "distance_60s": float((late - look.reference).abs().mean()),
        }
    return result


def _sharpness(made: Tensor, real: Tensor, boxes: Tensor | None = None) -> float:
    ours, theirs = laplacian_energy(made), laplacian_energy(real)
    if boxes is None:
        return float(ours.mean() / theirs.mean())
    mouth = box_mask(boxes[:, 0], MOUTH_BOX)[:, 1:-1, 1:-1]
    # made heads are posed differently: compare the still middle of the mouth region
    middle = mouth.float().mean(0) > 0.5
    return float(ours[:, middle].mean() / theirs[:, middle].mean())


def drags(model: PocketModel, looks: list[Look], seed: int = 0) -> dict[str, float]:
    """Distance of dragged objects from where they should be, as a share of the frame's width."""
    rng = np.random.default_rng(seed)
    errors, starts = [], []
    for look in looks:
        if look.is_avatar:
            continue
        entry = next(e for e in model.looks if e.name == look.name)
        for thing in entry.objects:
            goal = rng.uniform(28, 100, 2)
            error, start = _drag(model, look, thing.home, thing.radius, goal)
            errors.append(error)
            starts.append(start)
    return {
        "track_error_width": float(np.mean(errors)),
        "track_error_worst": float(np.max(errors)),
        "track_start_chunks_p95": float(np.percentile(starts, 95)),
    }


def _drag(
    model: PocketModel, look: Look, home: tuple[float, float], radius: float, goal: np.ndarray
) -> tuple[float, int]:
    state = model.start(seed=1, scene=look.name)
    model.step(state, Controls())
    press = TrackEvent(1, "down", home[0] / 128, home[1] / 128)
    move = TrackEvent(1, "move", goal[0] / 128, goal[1] / 128)
    template = _patch(look.reference, np.array(home), radius)
    start = 99
    for k in range(15):
        chunk = model.step(state, Controls(tracks=(press, move) if k == 0 else ()))
        frames = to_signed(torch.from_numpy(chunk.frames))
        where = _find(frames[-1], template)
        if start == 99 and np.hypot(*(where - home)) > 2.5:
            start = k + 1
    return float(np.hypot(*(where - goal))) / 128, start


def _patch(image: Tensor, centre: np.ndarray, radius: float) -> Tensor:
    half = max(5, int(0.7 * radius))
    x, y = (round(v) for v in centre)
    return image[:, y - half : y + half + 1, x - half : x + half + 1]


def _find(frame: Tensor, template: Tensor) -> np.ndarray:
    """Centre (x, y) of the best match of `template` by squared difference."""
    ones = torch.ones_like(template)
    energy = F.conv2d(frame[None].square(), ones[None])
    cross = F.conv2d(frame[None], template[None])
    score = (energy - 2 * cross)[0, 0]
    y, x = divmod(int(score.argmin()), score.shape[1])
    return np.array([x + template.shape[2] // 2, y + template.shape[1] // 2], float)


def speed(model: PocketModel) -> dict[str, float]:
    """Chunk time over media time with this process's threads."""
    state = model.start(seed=0)
    times = []
    for _ in range(60):
        begin = time.perf_counter()
        model.step(state, Controls())
        times.append(time.perf_counter() - begin)
    ratio = np.array(times[10:]) / (model.info.chunk_us / 1e6)
    return {"rtf_p50": float(np.median(ratio)), "rtf_p95": float(np.percentile(ratio, 95))}


def sheet(model: PocketModel, clips: Clips, looks: list[Look], path: Path) -> None:
    """A picture: real and generated frames of every look, from audio alone."""
    rows = []
    for k, look in enumerate(looks):
        n = int((clips.look == k).nonzero()[0, 0])
        audio = clips.audio[n]
        audio = np.zeros(64_000, np.int16) if audio is None else audio
        made = speak(model, look.name, audio)[: clips.length]
        pick = torch.arange(8, 68, 5)
        rows += [to_signed(clips.frames[n])[pick], made[pick]]
    grid = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    pixels = grid.clamp(-1, 1).add(1).mul(127.5).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--parts", type=Path, default=Path("var/train"))
    parser.add_argument("--out", type=Path, default=Path("var/train/report"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--long", action="store_true", help="also measure 60 s streams")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    index = load_index(args.data)
    looks = load_looks(args.data, index)
    clips = Clips(args.data, "test", index, looks)
    meter = MouthMeter()
    meter.load_state_dict(torch.load(args.parts / "meter/meter.pt", weights_only=True))
    model = PocketModel()
    report = lip_sync(model, clips, looks, meter) | drags(model, looks) | speed(model)
    if args.long:
        report["steadiness"] = steadiness(model, clips, looks)
    (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    sheet(model, clips, looks, args.out / "sheet.png")
    print(json.dumps(report, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
