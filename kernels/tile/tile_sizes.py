"""Tile sizes of the attention kernels, ranked by compiled code and by bytes, not by timing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..gpu import gpu_of, on_gpu

# What an attention kernel is made for. A tile of heads of 384, the Wan VAE's, would take 393 KB of
# an H100's 227 KB of shared memory.
TENSOR_CORE_TYPES = (torch.bfloat16, torch.float16)
MAX_HEAD_DIM = 128


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


def attention_tile(key: Tensor) -> Tile:
    """The tile for keys [B, Hkv, M, D].

    128 queries wherever they fit, because keys and values are read once per block of queries;
    8 warps, because 4 spill; as many keys as fit without spills in the loop. On a CPU (Triton's
    interpreter) the fewest steps. Raises ValueError on a GPU for heads of more than 128 elements,
    whose tiles would not fit in shared memory.
    """
    head_dim = key.shape[-1]
    capability = gpu_of(key)
    if capability is None:
        return Tile(64, 64)
    if head_dim > MAX_HEAD_DIM:
        raise ValueError(f"heads of {head_dim}; the kernels take at most {MAX_HEAD_DIM} on a GPU")
    if key.dtype not in TENSOR_CORE_TYPES:
        # For comparisons only, and small enough to be launched on every GPU.
        return Tile(32, 32, warps=4)
    if _small(capability):
        return Tile(128, 32, warps=8)
    # Bulk copies want rows of a multiple of 16 bytes.
    if capability[0] < 9 or head_dim * key.element_size() % 16:
        return Tile(128, 64, warps=8)
    if capability[0] == 9:
        return Tile(128, 128, warps=8, descriptors=True)
    return Tile(128, 64, warps=8, stages=3, descriptors=True)


def few_keys_tile(key: Tensor) -> Tile:
    """The tile for a few hundred keys [B, H, M, D] that lie anyhow, as those of a text.

    Without descriptors, which want heads in one piece, and with fewer keys than `attention_tile`
    where what is kept from head to head would be spilled. Raises ValueError as it does.
    """
    tile, capability = attention_tile(key), gpu_of(key)
    if capability is None or key.dtype not in TENSOR_CORE_TYPES:
        return tile
    if capability[0] == 9:
        return Tile(128, 64, warps=8)
    return Tile(128, 16 if _small(capability) else 32, warps=8)


def sparse_tile(key: Tensor, query_block: int, key_block: int) -> Tile:
    """The tile for a list of blocks of `query_block` x `key_block`: as `attention_tile`, or less.

    64 queries get 4 warps, and without descriptors two tiles of 32.
    """
    tile = attention_tile(key)
    queries, keys = min(tile.queries, query_block), min(tile.keys, key_block)
    if not on_gpu(key) or queries != 64:
        return Tile(queries, keys, tile.warps, 2, tile.descriptors)
    if tile.descriptors:
        return Tile(queries, keys, 4, 2, descriptors=True)
    return Tile(32, min(key_block, 64), 4, 2)


def _small(capability: tuple[int, int]) -> bool:
    """Whether a block of threads has about 100 KB of shared memory."""
    return capability >= (12, 0) or capability in ((8, 6), (8, 9))


def int8_tile(value: Tensor) -> Tile:
    """The tile for 8-bit keys and values [B, Hkv, M, D]: 64 keys, which share a scale.

    128 queries where keys come by descriptors; elsewhere those spill. Raises ValueError as
    `attention_tile`.
    """
    tile = attention_tile(value)
    # an 8-bit row is half as long, and bulk copies want 16 bytes of it
    if tile.descriptors and value.shape[-1] % 16 == 0:
        return Tile(128, 64, 8, 3, descriptors=True)
    return Tile(64, 64)
