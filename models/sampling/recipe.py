"""How a published student is sampled, as one value: what differs between families is a field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .flow_schedule import FlowSchedule
from .renoise import Renoise
from .sampler import NoiseSource, Sampler
from .unipc import UniPC

SamplerKind = Literal["renoise", "unipc", "joint"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Chunks of `chunk_frames` latent frames, the first of `first_frames` if given.

    `steps` are published step lists such as (1000, 750, 500, 250), which `warp` looks up in the
    schedule; `first_steps` are those of the first chunk that is generated, also behind given
    latents (Causal-Forcing++). `sampler` "renoise" noises x0 again between steps, "unipc" is
    `unipc.UniPC` with as many steps as there are `steps`, "joint" is `joint_window.roll_window`.
    `shift` and `shifted_twice` are those of `FlowSchedule`, `whole_times` that of `Renoise`.
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

    def schedule(self) -> FlowSchedule:
        """The table of noise levels."""
        return FlowSchedule(self.shift, twice=self.shifted_twice)

    def timesteps(self, chunk: int = 0) -> tuple[float, ...]:
        """Timesteps of the `chunk`-th generated chunk, on the schedule."""
        steps = self.first_steps if chunk == 0 and self.first_steps else self.steps
        if not self.warp:
            return tuple(float(step) for step in steps)
        return self.schedule().warp([int(step) for step in steps])

    def sampler_for(self, chunk: int, renoise: NoiseSource) -> Sampler:
        """The sampler of the `chunk`-th generated chunk. Raises ValueError for a joint window."""
        if self.sampler == "joint":
            raise ValueError("a joint window has no sampler of one chunk; use roll_window")
        if self.sampler == "unipc":
            return UniPC(len(self.steps), shift=self.shift)
        schedule, steps = self.schedule(), self.timesteps(chunk)
        return Renoise(schedule, steps, renoise, whole_times=self.whole_times)

    def chunks(self, frames: int) -> Iterator[slice]:
        """The frames of each chunk of a stream of `frames`, the last chunk whole."""
        start = 0
        while start < frames:
            first = self.first_frames if start == 0 else None
            length = self.chunk_frames if first is None else first
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
