"""A preset's student from its files, and what to say of files that do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..student.causal_student import CausalStudent
from ..student.config import StudentConfig
from .checkpoint import open_checkpoint
from .config_file import student_config
from .locate import ModelFiles
from .lora import LowRank
from .names import Renamed, student_name
from .presets.catalogue import presets
from .presets.preset import Preset
from .weight_files import BadCheckpoint
from .weights import Misfit, WeightsDoNotFit, fill


def empty_student(config: StudentConfig) -> CausalStudent:
    """A student on `meta`: all its names and shapes, and no memory."""
    with torch.device("meta"):
        return CausalStudent(config).eval()


def load_preset_student(
    preset: Preset, files: ModelFiles, *, device: torch.device, dtype: torch.dtype
) -> CausalStudent:
    """The student, its adapter folded in. Raises ValueError for weights that are not its own."""
    weights = Renamed(open_checkpoint(files.weights, preset.weights.sections), student_name)
    config = student_config(preset, files.config)
    change = None
    if preset.adapter is not None and files.adapter is not None:
        change = LowRank(
            open_checkpoint(files.adapter, preset.adapter.source.sections),
            alpha=preset.adapter.alpha,
        )
    try:
        student = empty_student(config)
        misfit = Misfit.of(student, weights)
        if misfit.count:
            raise WeightsDoNotFit(misfit)
        if change is not None:
            change.check(weights)
        return fill(student, weights, device=device, dtype=dtype, change=change)
    except WeightsDoNotFit as error:
        better = fitting_presets(weights, files.config)
        raise BadCheckpoint(
            f"{files.weights} does not fit {preset.name}: {error.misfit}. {_advice(better)}"
        ) from error


def fitting_presets(weights: Mapping[str, Tensor], config: Path | None) -> dict[str, int]:
    """How many names of a student's `weights` (ours) each preset finds wrong, best first."""
    counts = {
        preset.name: Misfit.of(empty_student(student_config(preset, config)), weights).count
        for preset in presets().values()
    }
    return dict(sorted(counts.items(), key=lambda each: each[1]))


def _advice(counts: Mapping[str, int]) -> str:
    fitting = [name for name, count in counts.items() if not count]
    if fitting:
        return f"It would fit {' and '.join(fitting)}"
    name, count = next(iter(counts.items()))
    return f"No preset fits; the nearest is {name}, with {count} wrong names"
