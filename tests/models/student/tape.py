"""A graph without a GPU: operators of torch, recorded on a CPU and done again there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            # views of what is recorded stay what they are; lists are copied, others may change them
            kept = tree_map_only(Tensor, lambda tensor: tensor, (args, kwargs or {}))
            self.done.append((func, *kept, result))
        return result


class Tape:
    """A `Graph` as CUDA has it: no line of Python is run again but the operators themselves."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, Any, Any, Any]] = []
        self._fresh = False

    def capture(self, work: Callable[[], None]) -> None:
        """Records `work`, which computes as well: see `replay`."""
        recorder = _Recorder()
        with recorder:
            work()
        self._done = recorder.done
        self._fresh = True

    def replay(self) -> None:
        """Does it again, on the same memory; the first time recording has done it already."""
        if self._fresh:
            self._fresh = False
            return
        for func, args, kwargs, result in self._done:
            made = tree_leaves(func(*args, **kwargs))
            for old, new in zip(tree_leaves(result), made, strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)
