"""Counts what a model asks of a GPU, without one: run on `meta`, every operator is seen.

An operation is what queues work on the device: one of torch's operators that is neither a view nor
an allocation, or a launch of one of our kernels. How many kernels torch makes of an operator of its
own is not seen (a matrix product is one or two), nor is time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...kernels.gpu import Capability, meta_stands_for
from ...kernels.launch import Launch, watch_launches

# What only sets memory aside, or looks at it in another way without saying so in its schema.
_FREE = ("empty", "new_empty", "empty_strided", "new_empty_strided", "empty_like", "_unsafe_view")
_PRODUCTS = (
    *("addmm", "mm", "bmm", "baddbmm", "_addmm_activation", "_scaled_mm"),
    "convolution",
)


class OperationCount(TorchDispatchMode):
    """Within it, counts operations on `meta` by name, and the bytes that plain passes move.

    `bytes` counts what torch's operators read and write that are neither products nor attention:
    passes over memory that could be part of something else; `launch_bytes` the tensors that our own
    kernels are given, each once. `uploads` are copies from the CPU to
    the device for which the host has to wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()
        self.launches: Counter[str] = Counter()
        self.seen: list[Launch] = []
        self.uploads = 0
        self.bytes = 0
        self.launch_bytes = 0

    @property
    def operations(self) -> int:
        """All of them."""
        return self.operators.total() + self.launches.total()

    def note(self, launch: Launch) -> None:
        """One of our kernels is launched."""
        self.launches[name_of(launch)] += 1
        self.seen.append(launch)
        given = [each for each in launch.arguments.values() if isinstance(each, Tensor)]
        self.launch_bytes += sum(map(_bytes, given))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if func.is_view or name in _FREE or not any(leaf.is_meta for leaf in made):
            return result
        self.operators[name] += 1
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(leaf.device.type == "cpu" and leaf.dim() for leaf in given):
            self.uploads += 1
        if name not in _PRODUCTS and "attention" not in name:
            self.bytes += sum(_bytes(leaf) for leaf in (*given, *made))
        return result


@contextmanager
def counted(capability: Capability) -> Iterator[OperationCount]:
    """Counts what is done on `meta` within this context, which stands for such a GPU."""
    count = OperationCount()
    with meta_stands_for(capability), watch_launches(count.note), count, torch.no_grad():
        yield count


def name_of(launch: Launch) -> str:
    """A launch's kernel, without the suffix that all have."""
    return launch.kernel.__name__.removesuffix("_kernel")


def _bytes(tensor: Tensor) -> int:
    """Of its elements, not of what it is a view of."""
    return tensor.numel() * tensor.element_size()
