"""A stream's snapshot in parts, each saved by the stage that has it.

`prepare`, `cache.k` for each cache, `decoder`, and `returns` for clean latents that chunks to come
need: they may have been on their way back when `prepare`'s part was saved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from safetensors.torch import load, save
from torch import Tensor

from ..state import DecoderState, read_metadata
from ..student.kv_cache import StudentCache

PREPARE = "prepare"
RETURNS = "returns"
DECODER = "decoder"


def parts_of(caches: int) -> int:
    """How many parts a whole snapshot has."""
    return caches + len((PREPARE, RETURNS, DECODER))


def snapshot_of_cache(cache: int) -> str:
    """The name of a cache's part."""
    return f"cache.{cache}"


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


def decoder_part(state: DecoderState) -> bytes:
    """What a causal decoder remembers, as bytes."""
    return save({name: tensor.clone() for name, tensor in state.memory.items()})


def load_decoder(data: bytes) -> DecoderState:
    """The inverse of `decoder_part`."""
    return DecoderState(load(data))
