"""Replicas and nodes are lost under viewers who speak and steer: what do they see of it?"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from ...models.pipeline.heap import return_unused
from .loopback import Node
from .running_fleet import Authorize, FleetOptions, RunningFleet, running_fleet
from .viewer import Seen, view

Say = Callable[[str], None]
Loss = Literal["replica", "node", "hang", "drain"]
LOOK_S = 6.0
"""For so long after a loss gaps count for it."""
SETTLE_S = 3.0
MOST_GAP_S: dict[Loss, float] = {"replica": 0.5, "node": 1.0, "hang": 2.5, "drain": 0.5}
"""A viewer's longest pause that is asked for; of a model without weights, see `TEST_PATTERN_S`."""
TEST_PATTERN_S = 0.1
"""The same, where a replica of the test pattern is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions:
    """`count` losses of each kind at random moments under so many `viewers`."""

    kinds: tuple[Loss, ...] = ("replica",)
    count: int = 100
    viewers: int = 6
    fleet: FleetOptions = field(default_factory=FleetOptions)
    seed: int = 1


def measure(options: LossOptions, authorize: Authorize, say: Say) -> dict[str, Any]:
    """Run it."""
    with running_fleet(options.fleet, authorize) as fleet:
        say("the fleet is there")
        return asyncio.run(_measure(fleet, options, say))


async def _measure(fleet: RunningFleet, options: LossOptions, say: Say) -> dict[str, Any]:
    # a look of this process' own garbage collector at all of it would be taken for a gap
    return_unused()
    rng, until = random.Random(options.seed), asyncio.Event()
    seen = [Seen() for _ in range(options.viewers)]
    viewers = [asyncio.create_task(view(fleet.gateways[0], each, until)) for each in seen]
    while not all(each.shown or each.error for each in seen):
        await asyncio.sleep(0.1)
    say("all viewers see something")
    await asyncio.sleep(SETTLE_S)
    steady_s = time.monotonic()
    steady, _ = max(each.longest_gap(steady_s - SETTLE_S, steady_s) for each in seen)
    gaps: dict[str, list[tuple[float, float]]] = {}
    for kind in options.kinds:
        for number in range(options.count):
            await asyncio.to_thread(fleet.wait_ready, options.fleet.least)
            await asyncio.sleep(rng.uniform(0.5, 2.5))
            lost_s = time.monotonic()
            if not await asyncio.to_thread(_lose, fleet, kind, rng, options):
                continue
            await asyncio.sleep(LOOK_S)
            gap_s, began_s = max(each.longest_gap(lost_s, lost_s + LOOK_S) for each in seen)
            gaps.setdefault(kind, []).append((gap_s, began_s - lost_s))
            say(
                f"{kind} {number + 1}: longest gap {gap_s * 1e3:.0f} ms, "
                f"which began {(began_s - lost_s) * 1e3:.0f} ms after the loss"
            )
    until.set()
    await asyncio.gather(*viewers)
    report = {
        "model": options.fleet.model,
        "viewers": options.viewers,
        "steady_gap_s": round(steady, 3),
        "gaps_s": {kind: _summary(each) for kind, each in gaps.items()},
        "moves": sum(each.moves for each in seen),
        "lost": sum(each.lost for each in seen),
        "left_out": sum(each.left_out for each in seen),
        "dropped": sum(each.dropped for each in seen),
        "repeated": sum(each.repeated for each in seen),
        "errors": [each.error for each in seen if each.error],
        "answers": sum(each.answers for each in seen),
        "unanswered": sum(each.unanswered for each in seen),
        "frames": sum(each.frames for each in seen),
    }
    return {**report, "verdicts": verdicts(report)}


def verdicts(report: dict[str, Any]) -> list[str]:
    """What is asked for and whether it holds, a line each."""
    found: list[str] = []
    for kind, gaps in report["gaps_s"].items():
        quick = kind == "replica" and report["model"] == "test-pattern"
        most_s = TEST_PATTERN_S if quick else MOST_GAP_S[kind]
        word = "holds" if gaps["longest"] <= most_s else "FAILS"
        within = sum(each <= most_s for each in gaps["all"])
        found.append(
            f"{kind}: longest gap {gaps['longest']:.3f} s of {gaps['count']} <= {most_s:g} s: "
            f"{word} ({within} within)"
        )
    for name in ("lost", "repeated", "unanswered"):
        found.append(f"{name}: {report[name]}: {'FAILS' if report[name] else 'holds'}")
    found.append(f"errors: {len(report['errors'])}: {'FAILS' if report['errors'] else 'holds'}")
    return found


def _summary(found: list[tuple[float, float]]) -> dict[str, Any]:
    """Of gaps in seconds, and of the times behind the losses at which they began."""
    gaps = sorted(found)
    ordered = [gap_s for gap_s, _ in gaps]
    return {
        "count": len(ordered),
        "median": round(ordered[len(ordered) // 2], 3),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 3),
        "longest": round(ordered[-1], 3),
        "all": [round(each, 3) for each in ordered],
        "began_behind_s": [round(began_s, 3) for _, began_s in gaps],
    }


def _lose(fleet: RunningFleet, kind: Loss, rng: random.Random, options: LossOptions) -> bool:
    """Lose a replica that has streams, and what belongs to the kind of loss."""
    busy = [each for each in fleet.ready() if each["streams"]]
    if not busy:
        return False
    chosen = rng.choice(busy)
    if kind == "drain":
        fleet.drain(chosen["name"])
    elif kind == "replica":
        os.kill(chosen["pid"], signal.SIGKILL)
    else:
        node = _node_of(fleet, chosen["pid"])
        if node is None or node.number == 0:
            return False
        del fleet.cluster.nodes[node.number]
        pids = node.pids
        if kind == "node":
            node.kill()
        else:
            node.send(signal.SIGSTOP)
        fleet.cluster.add(options.fleet.cpus_per_node)
        if kind == "hang":
            time.sleep(LOOK_S)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    return True


def _node_of(fleet: RunningFleet, pid: int) -> Node | None:
    return next((node for node in fleet.cluster.nodes.values() if pid in node.pids), None)
