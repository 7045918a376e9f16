"""Launches Triton's kernels: on the device of a tensor, and on `meta` not at all.

Triton launches on the current device, not on its arguments'. A tensor on `meta` has no memory, as
for torch's own operators there: what is known of the result is its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_OPTIONS = ("num_warps", "num_stages")


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel with its arguments by name; `options` are Triton's own, such as `num_warps`."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]


Watcher = Callable[[Launch], None]
_watchers: list[Watcher] = []


@contextmanager
def watch_launches(watcher: Watcher) -> Iterator[None]:
    """`watcher` is told of every launch within this context, before it is made."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def launch(
    kernel: Any, grid: tuple[int, ...], like: Tensor, *arguments: Any, **constants: Any
) -> None:
    """`kernel[grid](*arguments, **constants)` on the device of `like`."""
    if _watchers:
        named = dict(zip(kernel.arg_names, arguments, strict=False)) | constants
        options = {name: named.pop(name) for name in _OPTIONS if name in named}
        for watcher in _watchers:
            watcher(Launch(kernel, grid, named, options))
    if like.is_meta:
        return
    if like.is_cuda:
        with torch.cuda.device(like.device):
            kernel[grid](*arguments, **constants)
    else:
        kernel[grid](*arguments, **constants)
