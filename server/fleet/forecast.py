"""What fleets of 1 to 1,000 GPUs are good for: simulated, from figures that are named here.

An estimate: no fleet of that size was run. What is measured is what a gateway costs and how long a
move takes; what a GPU serves, how long it takes to start and how often it is lost are assumed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from .scaling import Bounds
from .simulator import FleetForecast, FleetLoad, simulate

GPUS = (1, 10, 100, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """Each GPU has `places`, `used` of which are asked for by streams of `lasts_s` on average.

    `gateway_share` is of a core, for each stream. Times are seconds.
    """

    places: int = 4
    used: float = 0.7
    lasts_s: float = 300.0
    start_s: float = 40.0
    fails_s: float = 14 * 86_400.0
    move_s: float = 0.5
    gateway_share: float = 0.012


def forecast(gpus: int, assumed: Assumed, *, hours: float = 1.0) -> FleetForecast:
    """How a fleet of so many does."""
    places = gpus * assumed.places
    # what one replica has, and what comes while another one starts
    arrivals_per_s = assumed.used * places / assumed.lasts_s
    reserve = min(places // 4, assumed.places + round(arrivals_per_s * assumed.start_s))

    def lasts_s(draw: random.Random) -> float:
        return draw.expovariate(1 / assumed.lasts_s)

    load = FleetLoad(
        every_s=1 / arrivals_per_s,
        lasts_s=lasts_s,
        places=assumed.places,
        bounds=Bounds(max(1, round(gpus * assumed.used)), gpus, reserve, 60.0),
        start_s=assumed.start_s,
        fails_s=assumed.fails_s,
        move_s=assumed.move_s,
        gateway_share=assumed.gateway_share,
    )
    settle_s = 4 * assumed.lasts_s
    return simulate(load, seconds=settle_s + hours * 3600, settle_s=settle_s)


def table(assumed: Assumed, gpus: tuple[int, ...] = GPUS) -> list[dict[str, Any]]:
    """A row for each size."""
    rows: list[dict[str, Any]] = []
    for count in gpus:
        # few streams say little in an hour
        found = forecast(count, assumed, hours=min(100.0, max(1.0, 200 / count)))
        rows.append(
            {
                "gpus": count,
                "streams": round(found.streams, 1),
                "gpus_in_use": round(found.replicas, 1),
                "waited": round(found.waited, 4),
                "wait_s": round(found.wait_s, 1),
                "refused": round(found.refused, 4),
                "lost_gpus_a_day": round(86_400 * count / assumed.fails_s, 2),
                "gateway_cores": round(found.gateway_cores, 1),
            }
        )
    return rows
