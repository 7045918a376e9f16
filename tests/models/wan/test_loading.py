"""Files of two models, and what is said of files of one where two are needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rollcast.models.wan.loading import load_preset_students
from rollcast.models.wan.locate import locate
from rollcast.models.wan.number_types import NumberTypes
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.weight_files import BadCheckpoint

from ...tiny_checkpoints import tiny_student, write_student

FolderOf = Callable[[str], Path]
CPU = torch.device("cpu")


def test_both_models_of_a_file_are_loaded(folder_of: FolderOf) -> None:
    preset = preset_named("sgf-plus")
    files = locate(preset, [str(folder_of("sgf-plus"))])
    students = load_preset_students(preset, files, device=CPU, types=NumberTypes(torch.float32))
    assert students.writer is not None
    for seed, loaded in enumerate((students.student, students.writer)):
        wanted = tiny_student(preset, seed).state_dict()
        assert all(torch.equal(value, wanted[key]) for key, value in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("has", "asked", "advice"),
    [("sgf-plus", "self-forcing", "sgf-plus and"), ("self-forcing", "sgf-plus", "self-forcing")],
)
def test_the_other_kind_is_named(
    has: str, asked: str, advice: str, folder_of: FolderOf, tmp_path: Path
) -> None:
    write_student(preset_named(has), tmp_path)
    weights = tmp_path / preset_named(has).weights.path
    files = locate(preset_named(asked), [str(weights), str(folder_of(asked))])
    with pytest.raises(BadCheckpoint, match=rf"does not fit {asked}.*It would fit.*{advice}"):
        load_preset_students(
            preset_named(asked), files, device=CPU, types=NumberTypes(torch.float32)
        )
