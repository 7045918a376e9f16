"""Runs the published implementations' golden cases and reports how far this engine is from them.

A case is a JSON file (family, configuration, tolerance) beside files of tensors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .avatar import avatar_differences
from .diffusers_pass import diffusers_differences
from .media import speech_differences, vae_differences
from .rolling import rolling_differences
from .stream_diffusion import stream_diffusion_differences
from .students import student_differences
from .track_students import track_student_differences

Run = Callable[[dict[str, Any], dict[str, Tensor]], tuple[float, ...]]
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


@dataclass(frozen=True, slots=True)
class CaseReport:
    """Result of one case; `chunk_differences` are maximum absolute ones, chunk by chunk.

    `error` says why a case could not run at all.
    """

    name: str
    family: str
    tolerance: float
    chunk_differences: tuple[float, ...]
    error: str | None = None

    @property
    def max_difference(self) -> float:
        """Over all chunks; infinite for a case that did not run."""
        return max(self.chunk_differences, default=float("inf"))

    @property
    def passed(self) -> bool:
        """Whether every chunk is within tolerance; NaN is not."""
        return self.error is None and all(
            difference <= self.tolerance for difference in self.chunk_differences
        )


def report_cases(paths: Iterable[Path]) -> list[CaseReport]:
    """Run these case files; one that cannot run is reported with its error."""
    reports: list[CaseReport] = []
    for path in paths:
        try:
            reports.append(run_case(path))
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as problem:
            message = f"{type(problem).__name__}: {problem}"
            reports.append(CaseReport(path.stem, "?", 0.0, (), message))
    return reports


@torch.inference_mode()
def run_case(path: Path) -> CaseReport:
    """Generate one case from its recorded inputs and compare with its recorded outputs.

    Raises ValueError for an unknown family or tensors that do not fit, OSError for missing files
    and KeyError for missing entries.
    """
    case = _read(path)
    family = case["family"]
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; expected one of {', '.join(FAMILIES)}")
    tensors: dict[str, Tensor] = {}
    for entry in ("weights", "inputs", "outputs", "tensors"):
        if entry in case:
            tensors |= load_file(path.parent / case[entry])
    return CaseReport(
        case["name"], family, float(case["tolerance"]), FAMILIES[family](case, tensors)
    )


def _read(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(path.read_text())
    if "family" not in case and case and all(key.startswith("fps") for key in case):
        # The recording of speech features is a bare table, its tensors are named like it.
        tensors = path.with_suffix(".safetensors").name
        table = {"family": "s2v_audio_bucket", "name": path.stem, "tensors": tensors}
        return {**table, "tolerance": 1e-5, "buckets": case}
    return case
