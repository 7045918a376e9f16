"""A stream's snapshot in parts, each saved by the stage that has it.

`prepare`, `cache.k` for each cache, `decoder`, and `returns` for clean latents that chunks to come
need: they may have been on their way back when `prepare`'s part was saved. Each is written into
the `room` that it is given, see `part_file`.

Small ones have the same names. Of a cache there is what it can be filled again by, or nothing, if
chunks to come do that; of a decoder, what it saw last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from ..past_calls import PastCall, pack_past, unpack_past
from ..staged_model import StagedModel, show_again
from ..state import DecoderState
from ..student.student_cache import StudentCache
from .part_bytes import pack_part, unpack_part
from .part_file import Part, Room, bytes_of, in_message

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


class Unsaved(OSError):
    """A part cannot be saved small now."""


class _Rebuilds(Protocol):
    def rebuild_cache(self, past: list[PastCall], kept: Mapping[str, Tensor]) -> StudentCache: ...


def small_cache_part(cache: StudentCache) -> Part:
    """What a cache can be filled again by. Raises Unsaved where that is not known."""
    if not cache.has_past:
        raise Unsaved("a cache was restored whole, and has kept no past yet")
    tensors, plain = pack_past(cache.past)
    named = {f"past.{name}": tensor for name, tensor in tensors.items()}
    named |= {f"kept.{name}": tensor for name, tensor in cache.kept.items()}
    return pack_part(named, {"past": json.dumps(plain)})


def refilled_cache(model: StagedModel[Any], part: Part) -> StudentCache:
    """The cache of a small part: filled again, or empty, whatever kind the part is of."""
    if not len(bytes_of(part)):
        return model.new_cache()
    tensors, metadata = unpack_part(part)
    if "cache" in metadata:
        return load_cache(model.new_cache(), part)
    past = unpack_past(_under("past.", tensors), json.loads(metadata["past"]))
    rebuilds: Any = model
    return _rebuilt(rebuilds, past, _under("kept.", tensors))


def _rebuilt(model: _Rebuilds, past: list[PastCall], kept: Mapping[str, Tensor]) -> StudentCache:
    return model.rebuild_cache(past, kept)


def small_decoder_part(state: DecoderState) -> Part:
    """What a decoder saw last. Raises Unsaved where that is not known."""
    if state.memory and not state.recent:
        raise Unsaved("a decoder was restored whole, and has seen nothing since")
    tensors, plain = pack_past(state.recent)
    return pack_part(tensors, {"recent": json.dumps(plain)})


def shown_decoder(model: StagedModel[Any], part: Part) -> DecoderState:
    """The decoder of a small part, which was shown the same again."""
    tensors, metadata = unpack_part(part)
    recent = unpack_past({k: t.clone() for k, t in tensors.items()}, json.loads(metadata["recent"]))
    return show_again(model, recent)


def no_part() -> Part:
    """Nothing: it makes itself anew."""
    return in_message(0)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the tensors whose names begin so, without that."""
    named = {k: t for k, t in tensors.items() if k.startswith(prefix)}
    return {k.removeprefix(prefix): t.clone() for k, t in named.items()}


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
    state.settle()
    return pack_part(state.memory, room=room)


def load_decoder(part: Part) -> DecoderState:
    """The inverse of `decoder_part`."""
    tensors, _ = unpack_part(part)
    return DecoderState({name: tensor.clone() for name, tensor in tensors.items()})
