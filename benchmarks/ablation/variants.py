"""What `rollcast bench ablation` compares: variants of sampler and cache, and how long each runs.

The weights are the same in all of them: those that ship, taught with `TAUGHT` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...models.pocket.audio import CHUNK_FRAMES
from ...models.pocket.config import CACHE, SERVED_STEPS, SHIFT, STEPS
from ...models.pocket.looks import FPS
from ...models.sampling.flow_schedule import FlowSchedule
from ...models.student.config import CacheConfig, SinkKind

# behind this many minutes only the variants that time may change are watched
SHORT_MINUTES = 1.0
# the published decay, which takes minutes to forget; and one that has forgotten within one
SLOW, QUICK = 0.999, 0.99
WINDOWS = (2, CACHE.window_frames, 8)
STEP_COUNTS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to sample: `window` chunks with the one under way, `steps` denoising steps a chunk.

    Without a sink the look's picture is the first frame of the window, and leaves it. `alpha` is
    an EMA sink's decay. With `clean_pass` all steps share one cache, which a further pass over the
    clean chunk writes at time 0; otherwise each step has its own.
    """

    sink: SinkKind = CACHE.sink
    alpha: float | None = None
    window: int = CACHE.window_frames
    steps: int = len(STEPS)
    clean_pass: bool = False

    @property
    def key(self) -> str:
        """Its name in files and options."""
        sink = self.sink if self.alpha is None else f"{self.sink}{self.alpha:g}"
        return f"{sink}-w{self.window}-s{self.steps}" + ("-clean" if self.clean_pass else "")

    @property
    def passes(self) -> int:
        """Passes of the student for one chunk."""
        return self.steps + self.clean_pass

    @property
    def cache(self) -> CacheConfig:
        """The cache of each step, or of all."""
        sinks = 0 if self.sink == "none" else CACHE.sink_frames
        config = replace(CACHE, window_frames=self.window, sink=self.sink, sink_frames=sinks)
        return config if self.alpha is None else replace(config, alpha=self.alpha)

    @property
    def timesteps(self) -> tuple[float, ...]:
        """Evenly spaced before the schedule's shift, from pure noise on."""
        even = [1000 - 1000 * k // self.steps for k in range(self.steps)]
        return FlowSchedule(SHIFT).warp(even)


TAUGHT = Variant()
"""What the weights were taught."""
SERVED = Variant(steps=len(SERVED_STEPS))
"""What streams take unless they are told otherwise."""
NO_SINK = Variant("none")
SLOW_EMA, QUICK_EMA = Variant("ema", SLOW), Variant("ema", QUICK)
CLEAN = Variant(clean_pass=True)
LONG = (TAUGHT, NO_SINK, SLOW_EMA, CLEAN)
STEPPED = tuple(Variant(steps=count) for count in STEP_COUNTS)
WINDOWED = tuple(
    replace(sink, window=window) for sink in (NO_SINK, TAUGHT, QUICK_EMA) for window in WINDOWS
)
BROAD = (TAUGHT, NO_SINK, QUICK_EMA, CLEAN, *STEPPED)


@dataclass(frozen=True, slots=True)
class Job:
    """One stream: a variant of a look for so many minutes of media."""

    variant: Variant
    look: str
    minutes: float

    @property
    def key(self) -> str:
        """Its name in files."""
        return f"{self.variant.key}-{self.look}"

    @property
    def passes(self) -> int:
        """Passes of the student that it takes."""
        return round(self.minutes * 60 * FPS / CHUNK_FRAMES) * self.variant.passes


def plan(minutes: float, looks: Sequence[str]) -> list[Job]:
    """All streams, the long ones first.

    Only the first look is watched for all `minutes`, and only under `LONG`; it alone has the cross
    of sinks and windows. That keeps ten minutes affordable on one core.
    """
    short = min(minutes, SHORT_MINUTES)
    first, *others = looks
    jobs = [Job(variant, first, minutes) for variant in LONG]
    jobs += [Job(variant, first, short) for variant in (*WINDOWED, *BROAD)]
    jobs += [Job(variant, look, short) for look in others for variant in BROAD]
    once: dict[str, Job] = {}
    for job in jobs:
        # a variant stands in several groups, but runs once, for as long as the first one wants
        once.setdefault(job.key, job)
    return list(once.values())
