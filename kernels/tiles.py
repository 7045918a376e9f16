"""Tile sizes of the attention kernels, ranked by compiled code and by bytes, not by timing."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Tile:
    """`queries` x `keys` of one step, the warps that share it and the tiles in flight.

    `descriptors`: keys and values come by TMA instead of by pointers.
    """

    queries: int
    keys: int
    warps: int = 4
    stages: int = 2
    descriptors: bool = False


def attention_tile(device: torch.device, head_dim: int, *, rotating: bool) -> Tile:
    """The tile for heads of `head_dim`; `rotating`: keys are turned in registers after loading.

    128 queries wherever they fit, because keys and values are read once per block of queries;
    8 warps, because 4 spill. On a CPU (Triton's interpreter) the fewest steps.
    """
    if device.type != "cuda":
        return Tile(64, 64)
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) >= (12, 0) or (major, minor) == (8, 6):
        # About 100 KB of shared memory.
        return Tile(128, 32, warps=8)
    if rotating:
        # Rotating needs the keys in registers, beside the accumulator.
        return Tile(128, 64, warps=8)
    if major < 9 or head_dim > 128:
        return Tile(128, 64, warps=8)
    return Tile(128, 128, warps=8, descriptors=True)
