"""Published checkpoint layouts, and errors that say what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.wan.weights import load_student, load_weights, read_weights, save_student

StudentMaker = Callable[..., CausalStudent]


def same(student: CausalStudent, other: CausalStudent) -> bool:
    weights = other.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in student.state_dict().items())


def test_saved_with_its_config(make_student: StudentMaker, tmp_path: Path) -> None:
    student = make_student(conditioned=True)
    save_student(student, tmp_path / "student.safetensors")
    assert (tmp_path / "student.safetensors").stat().st_mode & 0o044 == 0o044
    loaded = load_student(tmp_path / "student.safetensors")
    assert loaded.config == student.config
    assert same(student, loaded)
    assert not loaded.training


def test_half_precision_files_load_as_wanted(make_student: StudentMaker, tmp_path: Path) -> None:
    student = make_student()
    path = tmp_path / "half.safetensors"
    save_student(student, path, dtype=torch.float16)
    assert next(iter(read_weights(path).values())).dtype == torch.float16
    loaded = load_student(path)
    assert loaded.head.head.weight.dtype == torch.float32
    torch.testing.assert_close(
        loaded.head.head.weight, student.head.head.weight, atol=1e-3, rtol=1e-3
    )
    assert load_student(path, dtype=torch.bfloat16).head.head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("section", "prefix"),
    [
        (None, ""),
        (None, "model."),
        ("generator", "model."),
        ("generator_ema", "model._fsdp_wrapped_module."),
        ("state_dict", "module.model."),
    ],
)
def test_published_layouts(
    make_student: StudentMaker, tmp_path: Path, section: str | None, prefix: str
) -> None:
    student = make_student()
    named = {f"{prefix}{name}": tensor for name, tensor in student.state_dict().items()}
    path = tmp_path / "published.pt"
    other = {"model.x": torch.zeros(1)}
    torch.save({section: named, "critic": other} if section else named, path)
    assert same(student, load_student(path, student.config))


def test_averaged_weights_come_first(make_student: StudentMaker, tmp_path: Path) -> None:
    student, averaged = make_student(seed=0), make_student(seed=1)
    path = tmp_path / "both.pt"
    torch.save({"generator": student.state_dict(), "generator_ema": averaged.state_dict()}, path)
    assert same(averaged, load_student(path, student.config))


def test_what_does_not_fit_is_named(make_student: StudentMaker) -> None:
    student = make_student()
    weights = student.state_dict()
    before = weights["head.modulation"].clone()
    weights = {name: tensor.clone() + 1 for name, tensor in weights.items()}
    del weights["head.modulation"]
    weights["blocks.9.surprise"] = torch.zeros(1)
    weights["patch_embedding.bias"] = torch.zeros(3)
    with pytest.raises(ValueError) as problem:
        load_weights(student, weights)
    message = str(problem.value)
    assert "1 missing: head.modulation" in message
    assert "1 unknown: blocks.9.surprise" in message
    assert "patch_embedding.bias is (3,), expected (48,)" in message
    assert torch.equal(student.head.modulation, before)


def test_a_file_without_config_needs_one(make_student: StudentMaker, tmp_path: Path) -> None:
    student = make_student()
    path = tmp_path / "flat.safetensors"
    save_file(student.state_dict(), path)
    with pytest.raises(ValueError, match="holds no student config"):
        load_student(path)
    assert same(student, load_student(path, student.config))
