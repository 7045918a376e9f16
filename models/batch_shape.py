"""Which chunks may be made as one batch, and what goes back if that fails."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from .staged_model import ChunkPlan
from .student.config import StudentConfig
from .student.student_cache import StudentCache

MOST_ROWS = 8
"""More rows than this gain next to nothing on any device known."""


_ELEMENTS = 32
"""Of float32 that torch takes at once: two registers of 512 bits."""


def makes_batches(model: object) -> bool:
    """Whether chunks of several streams of a model may be one batch: it has `batches`, and true."""
    return bool(getattr(model, "batches", False))


def places_do_not_matter(config: StudentConfig) -> bool:
    """Whether the bits of a student's rows depend on how many there are, and not on which is where.

    A CPU makes the last elements of a tensor that fill no register by themselves, and functions
    like the sigmoid by another formula then. So a row has to be a whole number of registers.
    """
    widths = (config.dim, config.ffn_dim, config.freq_dim // 2)
    return all(width % _ELEMENTS == 0 for width in widths)


def batch_shape(plan: ChunkPlan, caches: Sequence[StudentCache]) -> Hashable | None:
    """What chunks of one batch have in common; None: this one is made alone.

    That is how much each of their caches holds, the shapes of what they are told, and how many
    steps they take where a model can do with fewer (`plain["steps"]`). A chunk with which its
    stream begins anew is made alone.
    """
    if plan.restart or not caches:
        return None
    held = tuple(len(cache.slots_in_time) for cache in caches)
    told = tuple(sorted((name, tuple(each.shape)) for name, each in plan.tensors.items()))
    calls = tuple(plan.plain.get(name) for name in ("steps", "seen"))
    return held, told, calls


def marks_of(caches: Sequence[StudentCache]) -> list[Mapping[str, Any]]:
    """What `go_back` needs."""
    return [cache.mark() for cache in caches]


def go_back(caches: Sequence[StudentCache], marks: Sequence[Mapping[str, Any]]) -> None:
    """Let a chunk that failed be made again: what it wrote will be written over."""
    for cache, mark in zip(caches, marks, strict=True):
        cache.go_back(mark)
