"""A chunk's plan as its place and a part for each kind of conditioning, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from ...staged_model import ChunkPlan
from .conditioning.conditioner import ChunkPlace, PlanPart
from .decoders import DecoderName


def planned(
    index: int,
    noise_seed: int,
    *,
    restart: bool,
    place: ChunkPlace,
    parts: Mapping[str, PlanPart],
    steps: int | None = None,
    decoders: Sequence[DecoderName] = ("vae",),
) -> ChunkPlan:
    """The plan of chunk `index`, of at most so many `steps` (None: all), seen by `decoders`.

    Raises ValueError where two kinds need its latents."""
    started = index - place.chunk
    needed = [started + part.needed_by for part in parts.values() if part.needed_by is not None]
    if len(needed) > 1:
        raise ValueError(f"chunks {needed} need chunk {index}; one can")
    return ChunkPlan(
        index=index,
        noise_seed=noise_seed,
        restart=restart,
        plain={
            "place": asdict(place),
            "kinds": {k: dict(part.plain) for k, part in parts.items()},
            "steps": steps,
            "decoders": list(decoders),
        },
        tensors={f"{k}.{name}": t for k, part in parts.items() for name, t in part.tensors.items()},
        needed_by=needed[0] if needed else None,
    )


def place_of(plan: ChunkPlan) -> ChunkPlace:
    """Where the chunk stands."""
    return ChunkPlace(**plan.plain["place"])


def steps_of(plan: ChunkPlan) -> int | None:
    """How many steps it takes at most; None: all."""
    return plan.plain["steps"]


def decoders_of(plan: ChunkPlan) -> Sequence[DecoderName]:
    """Which decoders see it; the frames are those of the first one."""
    return plan.plain["decoders"]


def parts_of(plan: ChunkPlan) -> dict[str, PlanPart]:
    """Each kind's part."""
    tensors: dict[str, dict[str, Tensor]] = {kind: {} for kind in plan.plain["kinds"]}
    for name, tensor in plan.tensors.items():
        kind, _, own = name.partition(".")
        tensors[kind][own] = tensor
    plain: Mapping[str, Mapping[str, Any]] = plan.plain["kinds"]
    return {kind: PlanPart(tensors[kind], plain[kind]) for kind in plain}
