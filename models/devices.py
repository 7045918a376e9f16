"""Where a model computes, by the names that people give: auto, cuda, cuda:1, cpu, mps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_NAME = re.compile(r"auto|cuda(:\d+)?|cpu|mps")


def check_device_name(name: str) -> str:
    """`name`, if it is one of a device. Raises ValueError if it is not; needs no torch."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"device {name!r}; expected auto, cuda, cuda:N, cpu or mps")
    return name


def device_named(name: str | None) -> torch.device:
    """The device of this name on this machine; auto, and None: its GPU, or without one its CPU.

    Raises ValueError for one that is not here. Of several GPUs "cuda" is the current one: in stages
    each process has made its own that.
    """
    import torch

    asked = check_device_name(name or "auto")
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(asked)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise ValueError(
                f"device {asked!r}: torch {torch.__version__} sees no NVIDIA GPU here; say cpu, or "
                "see what `rollcast doctor` tells of the driver"
            )
        if device.index is not None and device.index >= count:
            raise ValueError(f"device {asked!r}: there are {count} GPUs here, 0 to {count - 1}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {asked!r}: this machine has no Metal; say cpu")
    return device


def attention_there(capability: tuple[int, int]) -> str:
    """Who computes attention in bfloat16 on a GPU of this capability, for people to read."""
    from ..kernels.dispatch import attention_provider

    return attention_provider(capability)
