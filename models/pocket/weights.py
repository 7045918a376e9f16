"""The weight file: every network and table under a name of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under a name, without it."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): t for k, t in weights.items() if k.startswith(prefix)}


def filled(module: M, weights: Mapping[str, Tensor], name: str) -> M:
    """`module` with its weights, frozen; they are its parameters then, not copied.

    Raises RuntimeError if they are not its own.
    """
    module.load_state_dict(part(weights, name), assign=True)
    return module.eval().requires_grad_(False)
