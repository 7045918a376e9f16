"""A stream's snapshot in parts: `front`, and `step.k` for the cache of each denoising step."""

from __future__ import annotations

import json

from safetensors.torch import load, save

from ..kv_cache import StudentCache
from ..state import read_metadata


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
