"""Which GPU a tensor is on; for tensors on `meta`, which one they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

Capability = tuple[int, int]

# A plain variable, because torch.compile reads it without leaving its graph.
_stands_for: Capability | None = None


@contextmanager
def meta_stands_for(capability: Capability) -> Iterator[None]:
    """Within it, in the whole process, tensors on `meta` count as being on such a GPU.

    Dispatch then decides for them as it would there, and kernels are only said to be launched
    (`launch.watch_launches`): operations and launches of a model can be counted without any GPU.
    """
    global _stands_for
    before, _stands_for = _stands_for, capability
    try:
        yield
    finally:
        _stands_for = before


def on_gpu(tensor: Tensor) -> bool:
    """Whether `gpu_of` finds one; asked for every operation, so without asking the driver."""
    return tensor.is_cuda or (tensor.is_meta and _stands_for is not None)


def gpu_of(tensor: Tensor) -> Capability | None:
    """The compute capability of the NVIDIA GPU that `tensor` is on; None: it is on none."""
    if tensor.is_cuda:
        return torch.cuda.get_device_capability(tensor.device)
    return _stands_for if tensor.is_meta else None


# By NVIDIA's data sheets: A100, H100 SXM, B200, RTX 5090.
_MULTIPROCESSORS = {8: 108, 9: 132, 10: 148, 12: 170}


def multiprocessors(tensor: Tensor) -> int:
    """How many the GPU of `tensor` has, for sharing work out; on `meta` as many as its kind's."""
    if tensor.is_cuda:
        return torch.cuda.get_device_properties(tensor.device).multi_processor_count
    return 1 if not on_gpu(tensor) or _stands_for is None else _MULTIPROCESSORS[_stands_for[0]]
