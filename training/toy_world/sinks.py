"""Sinks and windows that students of the comparison are taught and sampled with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rollcast.models.student.config import CacheConfig, RopeFamily, SparsePolicy
from rollcast.models.toy_world.config import CACHE, SINKS


@dataclass(frozen=True, slots=True)
class Sink:
    """A cache, and where its keys stand for RoPE.

    By "slot" the sink stands at a fixed distance behind the chunk under way, as a reference that
    rolls along does (Live Avatar); by "absolute" at its own place, ever farther behind.
    """

    cache: CacheConfig
    rope: RopeFamily = "slot"


TAUGHT_SINKS = {name: Sink(cache) for name, cache in SINKS.items()} | {
    "left behind": Sink(CACHE, "absolute")
}
"""One cache size, one network: RoPE has no weights."""

FINE_PATCH = (1, 2, 3)
"""24 tokens a chunk in place of nine, so that a window of six chunks has 72 blocks of keys."""
FINE_CACHE = CacheConfig(window_frames=5, sink_frames=1)
SPARSE = SparsePolicy(
    "adaptive", query_block=2, key_block=2, energy=0.95, min_density=0.05, max_density=0.2
)
"""Video-BLADE's attention at toy size: a fifth of the blocks at most, the rest by their means."""
WINDOWS = {"dense": FINE_CACHE, "sparse": replace(FINE_CACHE, sparse=SPARSE)}
"""What students of fine tokens can be taught and sampled with."""
