"""Sessions come and go for an hour, replicas die and are drained: does anything grow?"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .running_fleet import Authorize, FleetOptions, RunningFleet, running_fleet
from .viewer import Seen, view

Say = Callable[[str], None]
LATE_S = 300.0
"""What grows at first is what a process needs; from here on nothing may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSoakOptions:
    """`sessions` in `minutes`, at most `at_once`; every `kill_every_s` a replica is lost."""

    minutes: float = 60.0
    sessions: int = 1000
    at_once: int = 5
    kill_every_s: float = 150.0
    sample_every_s: float = 20.0
    fleet: FleetOptions = field(default_factory=FleetOptions)
    samples: Path | None = None
    seed: int = 1


@dataclass
class Counts:
    """What came of the sessions."""

    opened: int = 0
    whole: int = 0
    """Without an error, a lost frame or a repeated one."""
    lost: int = 0
    """Frames between the last one of a replica and the first of the one that went on."""
    left_out: int = 0
    dropped: int = 0
    moves: int = 0
    repeated: int = 0
    errors: list[str] = field(default_factory=list)
    kills: int = 0
    drains: int = 0
    unanswered: int = 0
    frames: int = 0


def soak(options: FleetSoakOptions, authorize: Authorize, say: Say) -> dict[str, Any]:
    """Run it; samples are written as they are taken, so that an end before the end loses none."""
    with running_fleet(options.fleet, authorize) as fleet:
        say("the fleet is there")
        counts = Counts()
        samples = asyncio.run(_soak(fleet, options, counts, say))
    return report(samples, counts)


def report(samples: list[dict[str, Any]], counts: Counts) -> dict[str, Any]:
    """The samples at their beginning and end, and what came of the sessions.

    A sample that was taken while the controller was away says nothing of replicas.
    """
    late = [each for each in samples if each["at_s"] >= LATE_S] or samples
    told: dict[str, list[float]] = {}
    for sample in late:
        for key, value in sample.items():
            if key != "at_s" and isinstance(value, int | float):
                told.setdefault(key, []).append(value)
    growth = {key: _ends(values) for key, values in told.items()}
    return {"counts": asdict(counts), "growth": growth, "samples": len(samples)}


def _ends(values: list[float]) -> dict[str, float]:
    """Means of the first and of the last quarter, and of how many."""
    quarter = max(1, len(values) // 4)
    parts = {"first": values[:quarter], "last": values[-quarter:]}
    return {name: round(sum(part) / len(part), 3) for name, part in parts.items()} | {
        "samples": len(values)
    }


async def _soak(
    fleet: RunningFleet, options: FleetSoakOptions, counts: Counts, say: Say
) -> list[dict[str, Any]]:
    rng = random.Random(options.seed)
    began_s = time.monotonic()
    until_s = began_s + options.minutes * 60
    samples: list[dict[str, Any]] = []
    running: set[asyncio.Task[None]] = set()
    every_s = options.minutes * 60 / options.sessions
    next_session_s, next_kill_s, next_sample_s = began_s, began_s + options.kill_every_s, began_s
    while (now_s := time.monotonic()) < until_s:
        if now_s >= next_session_s and len(running) < options.at_once:
            task = asyncio.create_task(_session(fleet, rng.uniform(4, 20), counts))
            running.add(task)
            task.add_done_callback(running.discard)
            next_session_s += every_s
        if now_s >= next_kill_s:
            next_kill_s += options.kill_every_s
            await asyncio.to_thread(_lose_one, fleet, counts, rng)
        if now_s >= next_sample_s:
            next_sample_s += options.sample_every_s
            sample = await asyncio.to_thread(_sample, fleet, now_s - began_s, counts)
            samples.append(sample)
            if options.samples is not None:
                with open(options.samples, "a") as file:
                    file.write(json.dumps({**sample, "counts": asdict(counts)}) + "\n")
            say(f"{sample['at_s']:.0f} s: {counts.opened} sessions, {counts.kills} kills")
        await asyncio.sleep(0.05)
    await asyncio.gather(*running)
    samples.append(await asyncio.to_thread(_sample, fleet, time.monotonic() - began_s, counts))
    return samples


async def _session(fleet: RunningFleet, seconds: float, counts: Counts) -> None:
    counts.opened += 1
    seen, until = Seen(), asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, until.set)
    await view(fleet.gateways[counts.opened % len(fleet.gateways)], seen, until)
    counts.left_out += seen.left_out
    counts.dropped += seen.dropped
    counts.moves += seen.moves
    counts.lost += seen.lost
    counts.repeated += seen.repeated
    counts.unanswered += seen.unanswered
    counts.frames += seen.frames
    counts.whole += not (seen.error or seen.lost or seen.repeated)
    if seen.error:
        counts.errors = [*counts.errors[-49:], seen.error[:200]]


def _lose_one(fleet: RunningFleet, counts: Counts, rng: random.Random) -> None:
    ready = fleet.ready()
    if len(ready) < 2:
        return
    chosen = rng.choice(ready)
    if counts.kills > counts.drains:
        with suppress(OSError):
            fleet.drain(chosen["name"])
            counts.drains += 1
    else:
        with suppress(ProcessLookupError):
            os.kill(chosen["pid"], signal.SIGKILL)
            counts.kills += 1


def _sample(fleet: RunningFleet, at_s: float, counts: Counts) -> dict[str, Any]:
    gateways = [process.pid for process in fleet.processes]
    sample: dict[str, Any] = {"at_s": round(at_s, 1)}
    sample["gateway_mb"] = round(sum(map(_pss_mb, gateways)), 2)
    sample["gateway_files"] = sum(map(_files, gateways))
    with suppress(OSError, RuntimeError, KeyError):
        status = fleet.status()
        pids = [each["pid"] for each in status["replicas"] if each["condition"] == "ready"]
        sample["replicas"] = len(pids)
        sample["replica_mb"] = round(sum(map(_pss_mb, pids)) / max(1, len(pids)), 2)
        sample["replica_files"] = sum(map(_files, pids)) / max(1, len(pids))
        sample["streams"] = sum(each["streams"] for each in status["replicas"])
        controller = named("ray::Controller", fleet.cluster.nodes[0].pids)
        if controller is not None:
            sample["controller_mb"] = _pss_mb(controller)
            sample["controller_files"] = _files(controller)
        sample |= fleet.cluster.count()
    return sample


def named(title: str, pids: Iterable[int]) -> int | None:
    """Of these processes the one that calls itself so, if there is one."""
    for pid in pids:
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title.encode()):
                return pid
    return None


def _pss_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return round(int(line.split()[1]) / 1024, 2)
    return 0.0


def _files(pid: int) -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0
