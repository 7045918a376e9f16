"""Student weights from and to files, by the published names (Wan 2.1 and the causal students)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..student.causal_student import CausalStudent
from ..student.config import StudentConfig
from .layouts import own_names

CONFIG_KEY = "student_config"
_WRAPPERS = ("_fsdp_wrapped_module.", "_orig_mod.", "module.")
# Where the published .pt files keep the weights, averaged ones first.
_SECTIONS = ("generator_ema", "generator", "model", "state_dict")


def load_student(
    path: Path,
    config: StudentConfig | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> CausalStudent:
    """The student of a .safetensors or .pt file, in evaluation mode.

    `config` may be left out for a file that `save_student` wrote. .pt files are read as plain
    tensors, without running code from them. Raises ValueError if the weights do not fit `config`.
    """
    if config is None:
        config = saved_config(path)
    student = CausalStudent(config)
    load_weights(student, read_weights(path))
    return student.to(device=device, dtype=dtype).eval()


def save_student(student: CausalStudent, path: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write weights and config to one .safetensors file, `dtype` None as they are."""
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in student.state_dict().items()
    }
    write_weights(tensors, path, {CONFIG_KEY: json.dumps(student.config.to_dict())})


def write_weights(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors to a .safetensors file that whoever serves it may read.

    safetensors writes for the owner alone, and a container runs as another user.
    """
    save_file(tensors, path, metadata)
    path.chmod(0o644)


def saved_config(path: Path) -> StudentConfig:
    """The config in a file that `save_student` wrote; ValueError for any other."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(CONFIG_KEY)
        if text is not None:
            return StudentConfig.from_dict(json.loads(text))
    raise ValueError(f"{path.name} holds no student config; pass one")


def read_weights(path: Path) -> dict[str, Tensor]:
    """All weights of a file under plain names: sections, prefixes and wrappers taken off."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            return plain_names({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path.name} holds a {type(content).__name__}; expected named weights")
    for section in _SECTIONS:
        if isinstance(content.get(section), Mapping):
            return plain_names(content[section])
    return plain_names(content)


def plain_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` without wrapper infixes and without `model.` before every name.

    Those of a diffusers layout get the student's own names.
    """
    plain: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        for wrapper in _WRAPPERS:
            name = name.replace(wrapper, "")
        plain[name.removeprefix("model.")] = tensor
    return own_names(plain)


def load_weights(student: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into a model; ValueError naming what is missing, unknown or misshapen."""
    own = student.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unknown = sorted(weights.keys() - own.keys())
    misshapen = [
        f"{name} is {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        if weights[name].shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        for what, names in (("missing", missing), ("unknown", unknown), ("misshapen", misshapen))
        if names
    ]
    if problems:
        raise ValueError("weights do not fit: " + "; ".join(problems))
    student.load_state_dict(weights)
