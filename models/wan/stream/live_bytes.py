"""How many bytes of tensors live at once while something runs, on any device, `meta` included."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_META = torch.device("meta")


class LiveBytes(TorchDispatchMode):
    """Within it, counts the storages of tensors that operators return, until they are freed.

    Those of `known` tensors, which were there before, are not counted. What an operator needs
    inside of itself is not seen. On `meta` an operator that makes one new tensor is asked once what
    it makes of such arguments, since the blocks of a network ask the same again and again.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._seen = {tensor.untyped_storage()._cdata: 0 for tensor in known}
        self._made: dict[Any, tuple[torch.Size, tuple[int, ...], torch.dtype] | None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = self._result(func, args, kwargs or {})
        if isinstance(result, Tensor):
            self._count(result)
            return result
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return result

    def _result(self, func: Any, args: Any, kwargs: Any) -> Any:
        key = _alike((args, tuple(kwargs.items()))) if _makes_one(func) else None
        made = None if key is None else self._made.get((func, key))
        if made is not None:
            shape, strides, dtype = made
            return torch.empty_strided(shape, strides, dtype=dtype, device=_META)
        result = func(*args, **kwargs)
        if key is not None and _is_new(result, (args, kwargs)):
            self._made[func, key] = (result.shape, result.stride(), result.dtype)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._seen:
            return
        self._seen[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed(key))

    def _freed(self, key: int) -> Callable[[], None]:
        def freed() -> None:
            self.now -= self._seen.pop(key, 0)

        return freed


@cache
def _makes_one(func: Any) -> bool:
    """Whether an operator writes to no argument and returns one tensor that is no view."""
    schema = func._schema
    aliases = any(each.alias_info for each in (*schema.arguments, *schema.returns))
    return not aliases and [str(each.type) for each in schema.returns] == ["Tensor"]


def _alike(value: Any) -> Any:
    """What arguments have in common that an operator makes the same of on `meta`."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device
    if isinstance(value, (tuple, list)):
        return tuple(map(_alike, value))
    return type(value), value


def _is_new(result: Tensor, given: Any) -> bool:
    """Whether it is on `meta` and has a storage of its own; some operators return an argument's."""
    if result.device != _META:
        return False
    storage = result.untyped_storage()
    tensors = (leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor))
    return all(tensor.untyped_storage()._cdata != storage._cdata for tensor in tensors)
