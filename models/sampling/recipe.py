"""How a published student is sampled, as one value: what differs between families is a field.

Free of torch until a schedule is asked for: presets, which have one each, are listed without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from ..chunk_steps import ChunkSteps

if TYPE_CHECKING:
    from .flow_schedule import FlowSchedule
    from .sampler import NoiseSource, Sampler

SamplerKind = Literal["renoise", "unipc", "euler", "joint"]
CacheWriter = Literal["clean_pass", "each_step"]
"""What leaves a chunk's keys and values to those behind it: a pass over its clean latents, or each
step to a cache of its own."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Chunks of `chunk_frames` latent frames, the first of `first_frames` if given.

    `steps` are published step lists such as (1000, 750, 500, 250), which `warp` looks up in the
    schedule; `first_steps` are those of the first chunk that is generated, also behind given
    latents (Causal-Forcing++). `sampler` "renoise" noises x0 again between steps, "unipc" is
    `unipc.UniPC` and "euler" `euler.Euler`, both with as many steps as there are `steps`, "joint"
    is `joint_window`. `shift` and `shifted_twice` are those of `FlowSchedule`, `whole_times` that
    of `Renoise`. `caching` says what writes the cache; with `settles_first` each of the caches is
    left with what the first chunk's last step writes, see `batches.CallRow.settles`.
    `context_timestep` is what the clean pass is told. With `clean_expert` that pass is by weights
    of its own (`denoising.Expert`), and so is that over given latents.
    """

    chunk_frames: int
    steps: tuple[float, ...]
    first_steps: tuple[float, ...] = ()
    first_frames: int | None = None
    sampler: SamplerKind = "renoise"
    shift: float = 5.0
    shifted_twice: bool = False
    warp: bool = True
    whole_times: bool = False
    caching: CacheWriter = "clean_pass"
    settles_first: bool = False
    context_timestep: float = 0.0
    clean_expert: bool = False

    def __post_init__(self) -> None:
        if self.chunk_frames < 1 or (self.first_frames is not None and self.first_frames < 1):
            raise ValueError(
                f"chunk_frames {self.chunk_frames}, first_frames {self.first_frames}; expected at "
                "least one frame"
            )
        if not self.steps:
            raise ValueError("steps are empty; expected at least one")
        if self.sampler != "renoise" and (self.first_steps or self.whole_times):
            raise ValueError(f"first_steps and whole_times do not go with {self.sampler!r}")
        if self.sampler == "joint" and (self.first_frames is not None or self.clean_expert):
            raise ValueError("a joint window has blocks of one length and no expert")
        if self.caching != "clean_pass" and (self.sampler == "joint" or self.clean_expert):
            raise ValueError(f"caching {self.caching!r}: a joint window and an expert need a pass")
        if self.settles_first and self.caching != "each_step":
            raise ValueError(f"settles_first with caching {self.caching!r}; expected 'each_step'")
        if self.caching == "each_step" and self.first_steps:
            raise ValueError("first_steps do not go with a cache for each step")

    def with_steps(self, steps: Sequence[float]) -> Recipe:
        """The same with other `steps`, as many as are given.

        Of a sampler that spaces its own only their number counts. Raises ValueError for steps that
        do not go down from at most 1000 to more than 0, for parts of numbers where the schedule is
        looked up, and for a joint window, whose length they are.
        """
        if self.sampler == "joint":
            raise ValueError("a joint window is as long as its steps are many; they are fixed")
        given = tuple(steps)
        falling = all(above > below for above, below in pairwise(given))
        if not given or not falling or not 0 < given[-1] <= given[0] <= 1000:
            told = ", ".join(f"{step:g}" for step in given)
            raise ValueError(f"got {told or 'none'}; expected falling ones in 0..1000, not 0")
        if self.sampler != "renoise":
            return replace(self, steps=tuple(float(k) for k in range(1, len(given) + 1)))
        if self.warp and any(step != int(step) for step in given):
            raise ValueError("they are looked up in a schedule: expected whole numbers")
        return replace(self, steps=given)

    def schedule(self) -> FlowSchedule:
        """The table of noise levels."""
        from .flow_schedule import flow_schedule

        return flow_schedule(self.shift, twice=self.shifted_twice)

    def timesteps(self, chunk: int = 0) -> tuple[float, ...]:
        """Timesteps of the `chunk`-th generated chunk, on the schedule."""
        steps = self.first_steps if chunk == 0 and self.first_steps else self.steps
        if not self.warp:
            return tuple(float(step) for step in steps)
        return self.schedule().warp([int(step) for step in steps])

    def sampler_for(self, chunk: int, renoise: NoiseSource, first: float | None = None) -> Sampler:
        """The sampler of the `chunk`-th generated chunk, of which step 0 is at timestep `first`.

        None: where it usually is. Raises ValueError for a joint window, and for `first` where steps
        are not noised again.
        """
        if first is not None and self.sampler != "renoise":
            raise ValueError(f"sampler {self.sampler!r} begins with noise alone")
        if self.sampler == "joint":
            raise ValueError("a joint window has no sampler of one chunk; use roll_window")
        if self.sampler == "unipc":
            from .unipc import UniPC

            return UniPC(len(self.steps), shift=self.shift)
        if self.sampler == "euler":
            from .euler import Euler, EulerSchedule

            return Euler(EulerSchedule.shifted_twice(len(self.steps), self.shift))
        from .renoise import Renoise

        schedule, steps = self.schedule(), self.timesteps(chunk)
        steps = steps if first is None else (first, *steps[1:])
        return Renoise(schedule, steps, renoise, whole_times=self.whole_times)

    def chunk_steps(self) -> ChunkSteps:
        """The calls of a chunk, of the one that takes most of them."""
        joint = self.sampler == "joint"
        times = self.timesteps() if joint else self.sampler_for(0, _no_noise).timesteps
        if self.caching == "each_step":
            return ChunkSteps.cache_per_step(times)
        return ChunkSteps.one_cache(times, self.context_timestep)

    def step_of_call(self, chunk: int) -> tuple[int | None, ...]:
        """For each step of `chunk_steps` which one it is of the `chunk`-th chunk; None: none.

        A joint window's first chunk takes all of them to fill it, later ones the first alone.
        """
        count = len(self.first_steps or self.steps)
        if self.sampler == "joint":
            return tuple(k if chunk == 0 or k == 0 else None for k in range(count))
        if chunk == 0 or not self.first_steps:
            return tuple(range(count))
        places = {step: k for k, step in enumerate(self.steps)}
        return tuple(places.get(step) for step in self.first_steps)

    @property
    def fewest_steps(self) -> int | None:
        """With how many steps a chunk may do in need; None: it takes all of them.

        Half of them, where each begins with fresh noise and so any of them can be left out, and the
        cache does not depend on which were made.
        """
        free = self.sampler == "renoise" and self.caching == "clean_pass" and not self.first_steps
        return (len(self.steps) + 1) // 2 if free and len(self.steps) > 1 else None

    def kept_steps(self, chunk: int, most: int | None) -> tuple[int, ...]:
        """Which of `steps` the `chunk`-th chunk takes when it may take so many; None: all.

        The first chunk, from which the others go on, takes all.
        """
        count = len(self.steps)
        if most is None or chunk == 0 or self.fewest_steps is None:
            return tuple(range(count))
        kept = min(max(most, self.fewest_steps), count)
        return tuple(k * count // kept for k in range(kept))

    def frames_of(self, start: int) -> int:
        """Latent frames of a chunk that begins at latent frame `start` of its stream."""
        alone = self.first_frames if start == 0 else None
        return self.chunk_frames if alone is None else alone

    def chunks(self, frames: int) -> Iterator[slice]:
        """The frames of each chunk of a stream of `frames`, the last chunk whole."""
        start = 0
        while start < frames:
            length = self.frames_of(start)
            yield slice(start, start + length)
            start += length

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**plain)


def _no_noise(latents: Any) -> Any:
    """A noise source for a sampler that is asked for its timesteps alone."""
    raise AssertionError("nothing is sampled")
