"""Weights into modules: checked as a whole first, then one tensor at a time to device and type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..student.causal_student import CausalStudent
from ..student.config import StudentConfig
from .checkpoint import SECTIONS, open_checkpoint
from .names import Renamed, student_name

_SHOWN = 8
Module = TypeVar("Module", bound=nn.Module)
Change = Callable[[str, Tensor], Tensor]
"""What becomes of a weight, by its name, on its way into a module."""
Settle = Callable[[str, nn.Module], nn.Module]
"""What becomes of a layer, by its name, once it has its weights."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """What of some weights does not fit a module; each a line with the name in front."""

    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    misshapen: tuple[str, ...]

    @classmethod
    def of(cls, module: nn.Module, weights: Mapping[str, Tensor]) -> Misfit:
        """Of `weights` and a module, which may be on `meta`."""
        own = module.state_dict()
        return cls(
            tuple(sorted(own.keys() - weights.keys())),
            tuple(sorted(weights.keys() - own.keys())),
            tuple(
                f"{name} is {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
                for name in sorted(own.keys() & weights.keys())
                if weights[name].shape != own[name].shape
            ),
        )

    @property
    def count(self) -> int:
        """How many names are wrong; 0: the weights fit."""
        return len(self.missing) + len(self.left_over) + len(self.misshapen)

    def __str__(self) -> str:
        kinds = (
            ("missing", self.missing),
            ("left over", self.left_over),
            ("misshapen", self.misshapen),
        )
        return "; ".join(
            f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"
            for what, names in kinds
            if names
        )


class WeightsDoNotFit(ValueError):
    """Weights are not those of a module; `misfit` lists what is wrong."""

    def __init__(self, misfit: Misfit) -> None:
        super().__init__(f"weights do not fit: {misfit}")
        self.misfit = misfit


def load_student(
    path: Path,
    config: StudentConfig,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    sections: tuple[str, ...] = SECTIONS,
) -> CausalStudent:
    """The student of a file, its shards or a folder with them, in evaluation mode.

    See `open_checkpoint` for what is read, and `fill` for how. Raises WeightsDoNotFit.
    """
    weights = Renamed(open_checkpoint(path, sections), student_name)
    with torch.device("meta"):
        student = CausalStudent(config)
    return fill(student, weights, dtype=dtype, device=device)


def fill(
    module: Module,
    weights: Mapping[str, Tensor],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    change: Change | None = None,
    settle: Settle | None = None,
    copy: bool = True,
) -> Module:
    """Give a module that was made on `meta` its weights; it comes back in evaluation mode.

    Each goes straight to `device` and `dtype` (None: as it is), so that beside the module there is
    never more than one tensor in memory; `change` may make another one of it on its way, on that
    device, and `settle` something else of a layer that has its weights. Without `copy` a weight
    that needs no change stays mapped from its file. Raises WeightsDoNotFit, and changes nothing, if
    they are not the module's.
    """
    misfit = Misfit.of(module, weights)
    if misfit.count:
        raise WeightsDoNotFit(misfit)
    for prefix, part in module.named_modules():
        start = f"{prefix}." if prefix else ""
        for name, _ in list(part.named_parameters(recurse=False)):
            given = weights[start + name].detach()
            moved = given.to(device)
            changed = moved if change is None else change(start + name, moved)
            own = changed.to(dtype or given.dtype)
            if copy and own.data_ptr() == given.data_ptr():
                own = own.clone()
            setattr(part, name, nn.Parameter(own, requires_grad=False))
        if settle is not None:
            replace_part(module, prefix, settle(prefix, part))
    return module.eval()


def replace_part(module: nn.Module, name: str, part: nn.Module) -> None:
    """Let `part` be what `module` has by that name."""
    above, _, own = name.rpartition(".")
    if own and module.get_submodule(name) is not part:
        setattr(module.get_submodule(above), own, part)


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into a module that has some. Raises WeightsDoNotFit."""
    misfit = Misfit.of(module, weights)
    if misfit.count:
        raise WeightsDoNotFit(misfit)
    module.load_state_dict(dict(weights))


def plain_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A student's `weights` under our names, see `names.student_name`."""
    return dict(Renamed(weights, student_name))


def write_weights(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors to a .safetensors file that whoever serves it may read.

    safetensors writes for the owner alone, and a container runs as another user.
    """
    save_file(tensors, path, metadata)
    path.chmod(0o644)
