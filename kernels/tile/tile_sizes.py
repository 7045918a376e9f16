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
    8 warps, because 4 spill; as many keys as fit without spills in the loop. On a CPU (Triton's
    interpreter) the fewest steps.
    """
    if device.type != "cuda":
        return Tile(64, 64)
    capability = torch.cuda.get_device_capability(device)
    if rotating:
        # Rotating needs the keys in registers, beside the accumulator.
        return Tile(128, 64 if capability[0] == 9 else 32, warps=8)
    if _small(capability):
        return Tile(128, 32, warps=8)
    if capability[0] < 9 or head_dim > 128:
        return Tile(128, 64, warps=8)
    if capability[0] == 9:
        return Tile(128, 128, warps=8, descriptors=True)
    return Tile(128, 64, warps=8, stages=3, descriptors=True)


def sparse_tile(device: torch.device, head_dim: int, query_block: int, key_block: int) -> Tile:
    """The tile for a list of blocks of `query_block` x `key_block`: as `attention_tile`, or less.

    64 queries get 4 warps, and without descriptors two tiles of 32.
    """
    tile = attention_tile(device, head_dim, rotating=False)
    queries, keys = min(tile.queries, query_block), min(tile.keys, key_block)
    if device.type != "cuda" or queries >= 128:
        return Tile(queries, keys, tile.warps, 2, tile.descriptors)
    if tile.descriptors:
        return Tile(queries, keys, 4, 2, descriptors=True)
    return Tile(32, min(key_block, 64), 4, 2)


def _small(capability: tuple[int, int]) -> bool:
    """Whether a block of threads has about 100 KB of shared memory."""
    return capability >= (12, 0) or capability in ((8, 6), (8, 9))
