"""What a cache or a decoder was last given, so that it can be given it again and be as it was.

The inputs of the calls that wrote what a cache holds are a thousandth of its size: a call made
again writes the same frames' keys and values, if not to the bit, for what it attends to was made
with a longer past.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .chunk_plan import ChunkPlan

DECODER_LATENTS = 6
"""Latent frames, at least, that a causal decoder is shown again: its memory of older ones is faint.
"""


@dataclass(frozen=True, slots=True, eq=False)
class PastCall:
    """The last call of a chunk on a cache, or a chunk that was decoded.

    `latents` [1, F, C, h, w] are those that it saw, None: noise, which follows from the plan. In
    the cache the frames are `start` to `start + frames`, turned as `StudentCache.rope_offset` was.
    `sets_sink`: the chunk gave the cache its sink before.
    """

    plan: ChunkPlan
    call: int
    latents: Tensor | None
    start: int = 0
    frames: int = 0
    rope_offset: float = 0.0
    sets_sink: bool = False


def with_decoded(past: Sequence[PastCall], plan: ChunkPlan, latents: Tensor) -> list[PastCall]:
    """What a decoder has seen lately, with one more chunk."""
    kept = [] if plan.restart else list(past)
    kept.append(PastCall(plan, 0, latents, frames=latents.shape[1]))
    while sum(each.frames for each in kept[1:]) >= DECODER_LATENTS:
        del kept[0]
    return kept


def pack_past(past: Sequence[PastCall]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Their tensors, on the CPU and each but once however many plans have it, and the rest."""
    tensors: dict[str, Tensor] = {}
    places: dict[bytes, str] = {}

    def placed(tensor: Tensor) -> str:
        here = tensor.detach().cpu().contiguous()
        about = f"{here.dtype}{tuple(here.shape)}".encode()
        content = here.flatten().view(torch.uint8).numpy().tobytes() if here.numel() else b""
        key = hashlib.blake2b(content, key=hashlib.blake2b(about, digest_size=32).digest()).digest()
        name = places.setdefault(key, str(len(places)))
        tensors[name] = here
        return name

    plain = [
        {
            "plan": {
                "index": each.plan.index,
                "noise_seed": each.plan.noise_seed,
                "restart": each.plan.restart,
                "plain": each.plan.plain,
                "needed_by": each.plan.needed_by,
            },
            "tensors": {name: placed(tensor) for name, tensor in each.plan.tensors.items()},
            "call": each.call,
            "latents": None if each.latents is None else placed(each.latents),
            "start": each.start,
            "frames": each.frames,
            "rope_offset": each.rope_offset,
            "sets_sink": each.sets_sink,
        }
        for each in past
    ]
    return tensors, plain


def unpack_past(
    tensors: Mapping[str, Tensor], plain: Sequence[Mapping[str, Any]]
) -> list[PastCall]:
    """The inverse of `pack_past`."""
    return [
        PastCall(
            ChunkPlan(**each["plan"], tensors={k: tensors[n] for k, n in each["tensors"].items()}),
            each["call"],
            None if each["latents"] is None else tensors[each["latents"]],
            each["start"],
            each["frames"],
            each["rope_offset"],
            each["sets_sink"],
        )
        for each in plain
    ]
