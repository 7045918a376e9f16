"""A stream's snapshot in parts, each saved by the stage that has it.

`prepare`, `cache.k` for each cache, `decoder`, and `returns` for clean latents that chunks to come
need: they may have been on their way back when `prepare`'s part was saved. Each is written into
the `room` that it is given, see `part_file`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch import Tensor

from ..state import DecoderState
from ..student.kv_cache import StudentCache
from .part_bytes import pack_part, unpack_part
from .part_file import Part, Room

PREPARE = "prepare"
RETURNS = "returns"
DECODER = "decoder"


def parts_of(caches: int) -> int:
    """How many parts a whole snapshot has."""
    return caches + len((PREPARE, RETURNS, DECODER))


def snapshot_of_cache(cache: int) -> str:
    """The name of a cache's part."""
    return f"cache.{cache}"


def cache_part(cache: StudentCache, room: Room) -> Part:
    """A cache as a part."""
    return pack_part(cache.tensors(), {"cache": json.dumps(cache.metadata())}, room=room)


def load_cache(cache: StudentCache, part: Part) -> StudentCache:
    """`cache`, with the contents that `cache_part` saved. Raises ValueError for another shape."""
    tensors, metadata = unpack_part(part)
    cache.load(tensors, json.loads(metadata["cache"]))
    return cache


def returns_part(returns: Mapping[int, Tensor], room: Room) -> Part:
    """Latents by the chunk that needs them, as a part."""
    named = {str(chunk): latents for chunk, latents in returns.items()}
    return pack_part(named, room=room)


def load_returns(part: Part) -> dict[int, Tensor]:
    """The inverse of `returns_part`."""
    tensors, _ = unpack_part(part)
    return {int(chunk): latents.clone() for chunk, latents in tensors.items()}


def decoder_part(state: DecoderState, room: Room) -> Part:
    """What a causal decoder remembers, as a part."""
    return pack_part(state.memory, room=room)


def load_decoder(part: Part) -> DecoderState:
    """The inverse of `decoder_part`."""
    tensors, _ = unpack_part(part)
    return DecoderState({name: tensor.clone() for name, tensor in tensors.items()})
