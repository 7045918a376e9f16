"""One kernel with one set of types and constants, to be compiled ahead of time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, Self

ALL_TARGETS = (80, 90, 100, 120)


@dataclass(frozen=True, slots=True)
class CompileCase:
    """What a launcher would find out by itself.

    `signature` gives the Triton type of every argument that is not in `constants`; `aligned` names
    those that are divisible by 16. `main_loop_mma`: its longest loop must use the tensor cores.
    `targets` are the compute capabilities that it is for; on those in `chosen` it is what
    `tiles.py` picks. `of_preset`: a preset launches it so.
    """

    name: str
    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    aligned: tuple[str, ...]
    num_warps: int
    num_stages: int
    main_loop_mma: bool
    targets: tuple[int, ...] = ALL_TARGETS
    chosen: tuple[int, ...] = ()
    of_preset: bool = False

    @property
    def bulk_copies(self) -> bool:
        """Whether it loads by descriptors, so that bulk copies (TMA) must be in its code."""
        return any(kind.startswith("tensordesc") for kind in self.signature.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values: another process need not find out again what it is."""
        function = self.kernel.fn
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {"kernel": [function.__module__, function.__name__]}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """What `to_json` was made of, with the kernel of this process."""
        module, name = plain["kernel"]
        given: dict[str, Any] = plain | {"kernel": getattr(import_module(module), name)}
        for key in ("aligned", "targets", "chosen"):
            given[key] = tuple(plain[key])
        return cls(**given)
