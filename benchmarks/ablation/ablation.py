"""`rollcast bench ablation`: the same weights under other sinks, windows, steps and caches."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...models.pocket.evaluation.evaluation_set import QualitySet
from ...models.pocket.model import ASSETS
from ..rounding import rounded
from ..stream.stream import device_name
from .stream import VariantModel
from .variants import TAUGHT, Job, plan
from .watch import CURVE, Judge, Watched, watch

_DIGITS = 4
_AVATARS, _SCENES = 2, 1


def measure(
    reference: QualitySet,
    *,
    minutes: float,
    out: Path,
    kept: Path,
    names: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """The report, also in `out`, where a broken run is gone on with.

    Last frames and latents go into the folder `kept`. Without `names`, two people and a scene are
    watched. Raises ValueError for an unknown look, and if `out`
    has figures of other weights, looks or minutes.
    """
    looks = _chosen(reference, names)
    jobs = plan(minutes, looks)
    report = _resumed(out, minutes, looks)
    done = {stream["key"] for stream in report["streams"]}
    waiting = [job for job in jobs if job.key not in done]
    if not waiting:
        return report
    passes = sum(job.passes for job in waiting)
    say(f"{len(waiting)} of {len(jobs)} streams to watch, {passes} passes of the student")
    judge = Judge(reference)
    rows = {look.name: k for k, look in enumerate(reference.looks)}
    for job in waiting:
        say(f"{job.variant.key}, {job.look}, {job.minutes:g} min")
        watched = watch(judge, VariantModel(job.variant), rows[job.look], job.minutes)
        save(kept, job, watched)
        taught = Job(TAUGHT, job.look, job.minutes)
        _compare(watched, kept, taught)
        report["streams"].append(_entry(job, watched.report))
        _write(out, report)
    return report


def kept_file(folder: Path, key: str) -> Path:
    """Where the last frames of a stream are kept, and the latents of its passages."""
    return folder / f"{key}.npz"


def save(folder: Path, job: Job, watched: Watched) -> None:
    """Keep what clips and comparisons need of a stream."""
    folder.mkdir(parents=True, exist_ok=True)
    latents: dict[str, Any] = {
        f"latents.{name}": x.astype(np.float32) for name, x in watched.latents.items()
    }
    np.savez_compressed(kept_file(folder, job.key), frames=watched.frames, **latents)


def _compare(watched: Watched, folder: Path, taught: Job) -> None:
    """Add how far the latents are from those of the variant that was taught, where these were kept.

    Noise, speech and motion of two streams are the same, so that only the variants differ.
    """
    path = kept_file(folder, taught.key)
    if not path.exists():
        return
    with np.load(path) as kept:
        for name, latents in watched.latents.items():
            if f"latents.{name}" not in kept:
                continue
            squares = np.square(kept[f"latents.{name}"][: len(latents)] - latents)
            apart = np.sqrt(squares.mean((1, 2, 3)))
            if name == CURVE:
                watched.report["curve"]["from_taught"] = apart.tolist()
            else:
                whole = float(np.sqrt(np.square(apart).mean()))
                watched.report["marks"][name]["from_taught"] = whole


def read(path: Path) -> dict[str, Any]:
    """A report. Raises FileNotFoundError when there is none."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; measure first, without other options")
    return json.loads(path.read_text())


def _chosen(reference: QualitySet, names: Sequence[str]) -> list[str]:
    if reference.rows(names):
        return list(dict.fromkeys(names))
    people = {look.identity: look.name for look in reversed(reference.looks) if look.is_avatar}
    scenes = [look.name for look in reference.looks if not look.is_avatar]
    return [*list(people.values())[::-1][:_AVATARS], *scenes[:_SCENES]]


def _resumed(out: Path, minutes: float, looks: list[str]) -> dict[str, Any]:
    fresh: dict[str, Any] = {
        "device": device_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "weights": _weights(),
        "minutes": minutes,
        "looks": looks,
        "streams": [],
    }
    if not out.exists():
        return fresh
    found = read(out)
    for name in ("weights", "minutes", "looks"):
        if found[name] != fresh[name]:
            raise ValueError(
                f"{out} was measured with {name} {found[name]}, not {fresh[name]}; "
                "remove it or name another file with --out"
            )
    return found


def _weights() -> str:
    """What the weights are told apart by."""
    return hashlib.sha256((ASSETS / "pocket.safetensors").read_bytes()).hexdigest()[:16]


def _entry(job: Job, report: dict[str, Any]) -> dict[str, Any]:
    variant = asdict(job.variant) | {"timesteps": list(job.variant.timesteps)}
    head = {"key": job.key, "look": job.look, "minutes": job.minutes, "variant": variant}
    return head | {name: rounded(value, _DIGITS) for name, value in report.items()}


def _write(out: Path, report: dict[str, Any]) -> None:
    part = out.with_suffix(".part")
    part.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(part, out)
