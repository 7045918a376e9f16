"""A preset's student and decoder from their files, and what to say of files that do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from .vae_files import VAE_DECODER
from .weight_files import BadCheckpoint
from .weights import Misfit, fill


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
    weights = [Renamed(published, names) for names in _names(preset)]
    wrong = _student_misfit(preset, files, weights)
    if wrong:
        raise BadCheckpoint(f"{wrong}. {_advice(fitting_presets(published, files.config))}")
    change = _adapter(preset, files, weights[0])
    made = [
        fill(
            empty_student(config),
            each,
            device=device,
            dtype=types.dtype,
            change=change,
            settle=types.settle,
        )
        for each in weights
    ]
    for each in made:
        each.attention = types.attention
    return Students(made[0], made[1] if preset.recipe.clean_expert else None)


def misfits(preset: Preset, files: ModelFiles) -> list[str]:
    """A line on each of a preset's files that does not fit it, told from names and shapes."""
    found: list[str] = []
    try:
        published = open_checkpoint(files.weights, preset.weights.sections)
        weights = [Renamed(published, names) for names in _names(preset)]
        wrong = _student_misfit(preset, files, weights)
        if wrong:
            found.append(wrong)
        else:
            _adapter(preset, files, weights[0])
    except BadCheckpoint as error:
        found.append(str(error))
    try:
        VAE_DECODER.config_in(files.vae, preset.latents)
    except BadCheckpoint as error:
        found.append(str(error))
    return found


def _names(preset: Preset) -> tuple[Rename, ...]:
    """From names in a file to those of each of its students."""
    return (generator_name, writer_name) if preset.recipe.clean_expert else (student_name,)


def _student_misfit(
    preset: Preset, files: ModelFiles, weights: Sequence[Mapping[str, Tensor]]
) -> str:
    """What of the students' `weights` does not fit; empty: all of it does."""
    empty = empty_student(student_config(preset, files.config))
    wrong = [each for each in (Misfit.of(empty, part) for part in weights) if each.count]
    return f"{files.weights} does not fit {preset.name}: {wrong[0]}" if wrong else ""


def _adapter(preset: Preset, files: ModelFiles, weights: Mapping[str, Tensor]) -> LowRank | None:
    """The preset's adapter, if it has one. Raises BadCheckpoint for one of other weights."""
    if preset.adapter is None or files.adapter is None:
        return None
    tensors = open_checkpoint(files.adapter, preset.adapter.source.sections)
    try:
        adapter = LowRank(tensors, alpha=preset.adapter.alpha)
        adapter.check(weights)
    except ValueError as error:
        raise BadCheckpoint(
            f"{files.adapter} is no adapter of {preset.name}'s student: {error}"
        ) from error
    return adapter


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
    students: dict[StudentConfig, CausalStudent] = {}
    for preset in presets().values():
        try:
            sizes = student_config(preset, config)
        except BadCheckpoint as error:
            failed = error
            continue
        if sizes not in students:
            students[sizes] = empty_student(sizes)
        empty = students[sizes]
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
