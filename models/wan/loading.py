"""A preset's student and decoder from their files, and what to say of files that do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..student.causal_student import CausalStudent
from ..student.config import StudentConfig
from .checkpoint import open_checkpoint
from .config_file import student_config
from .locate import ModelFiles
from .lora import LowRank
from .names import Rename, Renamed, generator_name, student_name, writer_name
from .number_types import NumberTypes
from .presets.catalogue import presets
from .presets.preset import Preset
from .weight_files import BadCheckpoint
from .weights import Misfit, WeightsDoNotFit, fill


def empty_student(config: StudentConfig) -> CausalStudent:
    """A student on `meta`: all its names and shapes, and no memory."""
    with torch.device("meta"):
        return CausalStudent(config).eval()


@dataclass(frozen=True, slots=True)
class Students:
    """A preset's student, and for a recipe with `clean_expert` the one that writes the cache."""

    student: CausalStudent
    writer: CausalStudent | None


def load_preset_students(
    preset: Preset, files: ModelFiles, *, device: torch.device, types: NumberTypes
) -> Students:
    """The student, its adapter folded in, and the one for clean latents if there is one.

    What is quantised is so layer by layer: there is never more of it in the greater type. Raises
    ValueError for weights that are not its own.
    """
    published = open_checkpoint(files.weights, preset.weights.sections)
    config = student_config(preset, files.config)
    change = None
    if preset.adapter is not None and files.adapter is not None:
        change = LowRank(
            open_checkpoint(files.adapter, preset.adapter.source.sections),
            alpha=preset.adapter.alpha,
        )

    def loaded(names: Rename) -> CausalStudent:
        weights = Renamed(published, names)
        student = empty_student(config)
        misfit = Misfit.of(student, weights)
        if misfit.count:
            raise WeightsDoNotFit(misfit)
        if change is not None:
            change.check(weights)
        settle = None if types.quantize is None else types.settle
        return fill(
            student, weights, device=device, dtype=types.dtype, change=change, settle=settle
        )

    try:
        if not preset.recipe.clean_expert:
            return Students(loaded(student_name), None)
        return Students(loaded(generator_name), loaded(writer_name))
    except WeightsDoNotFit as error:
        better = fitting_presets(published, files.config)
        raise BadCheckpoint(
            f"{files.weights} does not fit {preset.name}: {error.misfit}. {_advice(better)}"
        ) from error


def fitting_presets(weights: Mapping[str, Tensor], config: Path | None) -> dict[str, int]:
    """How many published names of `weights` each preset finds wrong, best first.

    A preset that cannot have the sizes of `config` is left out: an avatar, say, hears speech in
    layers that a smaller model has not. Raises BadCheckpoint if none can.
    """
    own: dict[bool, list[Mapping[str, Tensor]]] = {
        False: [Renamed(weights, student_name)],
        True: [Renamed(weights, generator_name), Renamed(weights, writer_name)],
    }
    counts: dict[str, int] = {}
    failed: BadCheckpoint | None = None
    for preset in presets().values():
        try:
            empty = empty_student(student_config(preset, config))
        except BadCheckpoint as error:
            failed = error
            continue
        models = own[preset.recipe.clean_expert]
        counts[preset.name] = sum(Misfit.of(empty, each).count for each in models)
    if failed is not None and not counts:
        raise failed
    return dict(sorted(counts.items(), key=lambda each: each[1]))


def _advice(counts: Mapping[str, int]) -> str:
    fitting = [name for name, count in counts.items() if not count]
    if fitting:
        return f"It would fit {' and '.join(fitting)}"
    name, count = next(iter(counts.items()))
    return f"No preset fits; the nearest is {name}, with {count} wrong names"
