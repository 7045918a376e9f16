"""Which calls of a student make a chunk, and which cache each of them reads and writes; no torch.

Two families are published. With one cache a chunk's steps all attend to the same clean past, and a
final clean pass writes the chunk's own keys and values (Self-Forcing, arXiv 2506.08009; Reward
Forcing, 2512.04678; LongLive, 2509.22622). With a cache for each step there is no such pass, and
steps of successive chunks may run at once (timestep forcing, Live Avatar, 2512.04677).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the student at noise level `timestep`, which reads and writes cache `cache`."""

    timestep: float
    cache: int
    clean_pass: bool = False
    """Whether it predicts nothing and only writes the chunk's clean keys and values."""


@dataclass(frozen=True, slots=True)
class ChunkSteps:
    """The calls that a chunk takes, in their order."""

    calls: tuple[Call, ...]

    def __post_init__(self) -> None:
        used = {call.cache for call in self.calls}
        clean = [call.clean_pass for call in self.calls]
        if not self.calls or clean[0] or True in clean[:-1] or used != set(range(len(used))):
            raise ValueError(
                f"calls {self.calls}; expected at least one step, caches 0.. without a gap, and a "
                "clean pass at the end if anywhere"
            )

    @classmethod
    def cache_per_step(cls, timesteps: Sequence[float]) -> ChunkSteps:
        """Each step with a cache of its own and no clean pass."""
        return cls(tuple(Call(timestep, step) for step, timestep in enumerate(timesteps)))

    @classmethod
    def one_cache(cls, timesteps: Sequence[float], clean_timestep: float = 0.0) -> ChunkSteps:
        """One cache for all steps, written by a clean pass at `clean_timestep` behind them."""
        steps = (Call(timestep, 0) for timestep in timesteps)
        return cls((*steps, Call(clean_timestep, 0, clean_pass=True)))

    @property
    def caches(self) -> int:
        """How many caches a stream has."""
        return len({call.cache for call in self.calls})

    @property
    def steps(self) -> int:
        """Calls that denoise."""
        return sum(not call.clean_pass for call in self.calls)

    @property
    def cuts(self) -> tuple[int, ...]:
        """Calls before which a chunk may go on to another device: no cache is used on both sides.

        A cache that stays on one device could otherwise be read before its chunk was written.
        """
        names = [call.cache for call in self.calls]
        return tuple(k for k in range(1, len(names)) if not set(names[:k]) & set(names[k:]))

    @property
    def most_stages(self) -> int:
        """Devices that can share the work: the groups of calls, and one for the decoder."""
        return len(self.cuts) + 2

    def first_on_cache(self, call: int) -> bool:
        """Whether `call` is a chunk's first one on its cache."""
        cache = self.calls[call].cache
        return all(earlier.cache != cache for earlier in self.calls[:call])

    def last_on_cache(self, call: int) -> bool:
        """Whether `call` is a chunk's last one on its cache, behind which that advances."""
        cache = self.calls[call].cache
        return all(later.cache != cache for later in self.calls[call + 1 :])
