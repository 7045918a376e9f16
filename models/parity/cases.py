"""Runs the published implementations' golden cases and reports how far this engine is from them.

A case is a JSON file (family, configuration, tolerance) beside files of tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..wan.number_types import NumberTypes
from .avatar import avatar_differences
from .diffusers_pass import diffusers_differences
from .media import speech_differences, vae_differences
from .published import EXACT
from .rolling import rolling_differences
from .stream_diffusion import stream_diffusion_differences
from .students import student_differences
from .track_students import track_student_differences

Run = Callable[..., tuple[float, ...]]
"""Of a case and its tensors, for the `TYPED` also of types: the difference of each chunk."""
FAMILIES: Mapping[str, Run] = {
    "self_forcing": student_differences,
    "reward_forcing": student_differences,
    "longlive": student_differences,
    "longlive_infinity": student_differences,
    "longlive2": student_differences,
    "causal_forcing": student_differences,
    "sgf_plus": student_differences,
    "rolling_forcing": rolling_differences,
    "stream_diffusion_v2": stream_diffusion_differences,
    "trackwan": track_student_differences,
    "diffusers_wan": diffusers_differences,
    "live_avatar": avatar_differences,
    "wan21_vae": vae_differences,
    "s2v_audio_bucket": speech_differences,
}

TYPED = frozenset(FAMILIES) - {
    *("live_avatar", "wan21_vae", "s2v_audio_bucket"),
    # which slot of the cache a frame takes depends on what it is like
    "stream_diffusion_v2",
}
"""Families that can be run in other types than they were recorded in."""
_CPU = torch.device("cpu")
_PROBLEMS = (
    *(OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, SafetensorError),
)
"""What may come of a case that is not as it should be."""
_TYPED_INPUTS = (
    "in/noise in/renoise/ in/prompt_embeds in/clip_embeds in/initial_latent in/image_latent "
    "in/encoder_hidden_states in/hidden_states"
).split()


@dataclass(frozen=True, slots=True)
class CaseReport:
    """Result of one case; `chunk_differences` are maximum absolute ones, chunk by chunk.

    `spread` is the standard deviation of what was recorded. `error` says why a case could not run
    at all.
    """

    name: str
    family: str
    tolerance: float
    chunk_differences: tuple[float, ...]
    error: str | None = None
    spread: float = 0.0

    @property
    def max_difference(self) -> float:
        """Over all chunks; infinite for a case that did not run."""
        return max(self.chunk_differences, default=float("inf"))

    @property
    def passed(self) -> bool:
        """Whether every chunk is within tolerance; NaN is not, nor is a case without chunks."""
        compared = bool(self.chunk_differences) and self.error is None
        return compared and all(
            difference <= self.tolerance for difference in self.chunk_differences
        )


def report_cases(
    paths: Iterable[Path], types: NumberTypes = EXACT, *, device: torch.device = _CPU
) -> list[CaseReport]:
    """Run these case files in `types`; one that cannot run is reported with its error."""
    reports: list[CaseReport] = []
    for path in paths:
        try:
            reports.append(run_case(path, types, device=device))
        except _PROBLEMS as problem:
            message = f"{type(problem).__name__}: {problem}"
            if isinstance(problem, KeyError):
                message = f"the case has no entry or tensor {problem}"
            reports.append(CaseReport(path.stem, "?", 0.0, (), message))
    return reports


def case_files(paths: Iterable[Path]) -> list[Path]:
    """These files, and of a folder its JSON files by name.

    Raises FileNotFoundError for a path that is not there, and for a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            raise FileNotFoundError(f"no case (*.json) in {path}")
        files += found
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"no such case: {', '.join(missing)}")
    return files


@torch.inference_mode()
def run_case(path: Path, types: NumberTypes = EXACT, *, device: torch.device = _CPU) -> CaseReport:
    """Generate one case on `device` from its inputs and compare with its recorded outputs.

    In other types than those of the record its tolerance means nothing. Raises ValueError for an
    unknown family, for types that it does not run in and for tensors that do not fit, OSError for
    missing files and KeyError for missing entries.
    """
    case = _read(path)
    family = case["family"]
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; expected one of {', '.join(FAMILIES)}")
    tolerance = float(case["tolerance"])
    if not math.isfinite(tolerance):
        raise ValueError(f"tolerance {tolerance}; expected a number that can be exceeded")
    if types != EXACT and family not in TYPED:
        raise ValueError(f"cases of {family} run in the types of their record alone")
    tensors: dict[str, Tensor] = {}
    for entry in ("weights", "inputs", "outputs", "tensors"):
        if entry in case:
            tensors |= load_file(path.parent / case[entry], device=str(device))
    run, spread = FAMILIES[family], 0.0
    tensors = _in_types(tensors, types)
    if types != EXACT:
        run = partial(run, types=types)
        outputs = (tensors[name] for name in ("out/latents", "out/sample") if name in tensors)
        spread = float(next(outputs).std())
    with device:
        differences = run(case, tensors)
    return CaseReport(case.get("name", path.stem), family, tolerance, differences, spread=spread)


def _in_types(tensors: dict[str, Tensor], types: NumberTypes) -> dict[str, Tensor]:
    """With what goes into a student in its type; points, times and outputs stay as they are."""
    return {
        name: tensor.to(types.dtype) if name.startswith(tuple(_TYPED_INPUTS)) else tensor
        for name, tensor in tensors.items()
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        case: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"not a case, which is JSON: {error}") from error
    if not isinstance(case, dict):
        raise ValueError("not a case, which is an object of JSON")
    if "family" not in case and case and all(key.startswith("fps") for key in case):
        # The recording of speech features is a bare table, its tensors are named like it.
        tensors = path.with_suffix(".safetensors").name
        table = {"family": "s2v_audio_bucket", "name": path.stem, "tensors": tensors}
        return {**table, "tolerance": 1e-5, "buckets": case}
    return case
