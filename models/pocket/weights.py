"""The weight file: every network and table under a name of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

M = TypeVar("M", bound=nn.Module)


def part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under a name, without it."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): t for k, t in weights.items() if k.startswith(prefix)}


def filled(make: Callable[[], M], weights: Mapping[str, Tensor], name: str) -> M:
    """A module with its weights, frozen; they are its parameters then, not copied.

    `make` makes it without any. Raises RuntimeError if these are not its own.
    """
    with _Unset():
        module = make()
    module.load_state_dict(part(weights, name), assign=True)
    return module.eval().requires_grad_(False)


class _Unset(TorchFunctionMode):
    """Within it parameters are what their memory is: to draw numbers, which are then thrown away,
    takes longer than to read the others."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
