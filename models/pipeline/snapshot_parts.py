"""A stream's snapshot in parts.

`prepare`, `step.k` for the cache of each denoising step, and `returns` for clean latents that
chunks to come need: they may have been on their way back when `prepare`'s part was saved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from safetensors.torch import load, save
from torch import Tensor

from ..state import read_metadata
from ..student.kv_cache import StudentCache

RETURNS = "returns"


def step_part(step: int) -> str:
    """The name of a step's part."""
    return f"step.{step}"


def cache_part(cache: StudentCache) -> bytes:
    """A cache as bytes."""
    tensors = {name: tensor.clone() for name, tensor in cache.tensors().items()}
    return save(tensors, {"cache": json.dumps(cache.metadata())})


def load_cache(cache: StudentCache, data: bytes) -> StudentCache:
    """`cache`, with the contents that `cache_part` saved. Raises ValueError for another shape."""
    cache.load(load(data), json.loads(read_metadata(data)["cache"]))
    return cache


def returns_part(returns: Mapping[int, Tensor]) -> bytes:
    """Latents by the chunk that needs them, as bytes."""
    return save({str(chunk): latents.clone() for chunk, latents in returns.items()})


def load_returns(data: bytes) -> dict[int, Tensor]:
    """The inverse of `returns_part`."""
    return {int(chunk): latents for chunk, latents in load(data).items()}
