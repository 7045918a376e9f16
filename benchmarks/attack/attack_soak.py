"""A long time with hostile neighbours: one attack after the other beside a healthy viewer.

Between two attacks the server is left alone for a moment, and looked at: what it still holds then
it keeps. Memory, open files and tasks of its event loop must be as many at the end as they were.
"""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median, mode

from ..rounding import rounded
from ..stream.memory import slope_per_min
from ..stream.server_process import ServerProcess
from .attacks import ATTACKS, UNREAD
from .processes import last_line, under_attack, watching

CALM_S = 8.0
"""Longer than the server waits for whoever does not read (5 s)."""


@dataclass(frozen=True, slots=True)
class AttackSoakOptions:
    """What to run: `minutes` in all, each attack for `seconds` whenever it is its turn."""

    model: str
    minutes: float
    seconds: float = 22.0


@dataclass(frozen=True, slots=True)
class CalmSample:
    """What the server holds behind an attack; `memory_mb` in 1e6 bytes."""

    at_s: float
    after: str
    memory_mb: float
    files: int
    tasks: int
    processes: int


@dataclass(frozen=True, slots=True)
class AttackSoakReport:
    """How it went; "first" and "last" are medians of a round of all attacks.

    The first fifth of the time, in which caches fill, is left out, and so are the moments at which
    the server had more or fewer processes than mostly: one that a hostile picture made it kill is
    started again with the next picture, with memory and files of its own.
    """

    model: str
    minutes: float
    attacks: int
    dry_s: float
    frames: int
    reconnects: int
    memory_mb_per_min: float
    memory_mb: tuple[float, float]
    files: tuple[float, float]
    tasks: tuple[float, float]
    samples: list[CalmSample]

    def to_json(self) -> dict[str, object]:
        """The report as plain values, figures to five digits."""
        return {key: rounded(value) for key, value in asdict(self).items()}


def soak(plan: AttackSoakOptions, say: Callable[[str], None]) -> AttackSoakReport:
    """Run the plan; `say` is told what goes on. Raises ServerDied."""
    token, samples = secrets.token_hex(16), list[CalmSample]()
    with ServerProcess(plan.model, max_sessions=1 + UNREAD, token=token) as server:
        server.wait_ready()
        with watching(server.url, plan.minutes * 60, token) as viewer:
            begin_s = time.monotonic()
            left_s = plan.minutes * 60
            for name in itertools.cycle(ATTACKS):
                if left_s < plan.seconds + CALM_S:
                    break
                say(f"{name}; {left_s / 60:.0f} min left")
                with under_attack(name, server.port, token):
                    time.sleep(plan.seconds)
                time.sleep(CALM_S)
                at_s = time.monotonic() - begin_s
                samples.append(
                    CalmSample(
                        at_s,
                        name,
                        server.own_memory_mb(),
                        server.files(),
                        int(server.metrics().value("rollcast_tasks")),
                        server.processes(),
                    )
                )
                left_s = plan.minutes * 60 - (time.monotonic() - begin_s)
            seen = json.loads(last_line(viewer))
    return trends(plan, seen, samples)


def trends(
    plan: AttackSoakOptions, seen: dict[str, float], samples: Sequence[CalmSample]
) -> AttackSoakReport:
    """The report of what the viewer has `seen` and of at least two samples in time order."""
    late = samples[len(samples) // 5 :]
    usual = mode(each.processes for each in late)
    settled = [each for each in late if each.processes == usual]
    if len(settled) < 2:
        settled = late
    # whole rounds, or as much as there is twice
    count = min(len(ATTACKS), max(1, len(settled) // 2))

    def ends(of: Callable[[CalmSample], float]) -> tuple[float, float]:
        return median(map(of, settled[:count])), median(map(of, settled[-count:]))

    return AttackSoakReport(
        model=plan.model,
        minutes=plan.minutes,
        attacks=len(samples),
        dry_s=seen["dry_s"],
        frames=int(seen["frames"]),
        reconnects=int(seen["reconnects"]),
        memory_mb_per_min=slope_per_min(
            [each.at_s for each in settled], [each.memory_mb for each in settled]
        ),
        memory_mb=ends(lambda each: each.memory_mb),
        files=ends(lambda each: each.files),
        tasks=ends(lambda each: each.tasks),
        samples=list(samples),
    )
