"""The simulated fleet behaves as queues do in theory, and as the real one did."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from rollcast.server.fleet.forecast import Assumed, table
from rollcast.server.fleet.scaling import Bounds
from rollcast.server.fleet.simulator import FleetLoad, simulate


def exponential(mean_s: float, draw: random.Random) -> float:
    return draw.expovariate(1 / mean_s)


def fixed(replicas: int) -> Bounds:
    return Bounds(replicas, replicas, 0, 60.0)


def waits(offered: float, places: int) -> float:
    """The share of those who come that wait, by Erlang's C formula."""
    busy = offered**places / math.factorial(places) * places / (places - offered)
    return busy / (sum(offered**k / math.factorial(k) for k in range(places)) + busy)


@pytest.mark.parametrize("offered", [5.0, 7.0])
def test_as_many_wait_as_erlang_says(offered: float) -> None:
    load = FleetLoad(
        every_s=20.0 / offered,
        lasts_s=lambda draw: exponential(20.0, draw),
        places=4,
        bounds=fixed(2),
        most_wait_s=math.inf,
    )
    found = simulate(load, seconds=40_000.0, settle_s=500.0)
    assert found.streams == pytest.approx(offered, rel=0.06)
    assert found.waited == pytest.approx(waits(offered, 8), rel=0.15, abs=0.01)
    assert found.wait_s == pytest.approx(20.0 / (8 - offered), rel=0.25)
    assert not found.moves and not found.refused


def test_what_is_lost_is_moved_and_replaced() -> None:
    load = FleetLoad(
        every_s=2.0,
        lasts_s=lambda draw: exponential(12.0, draw),
        places=6,
        bounds=Bounds(3, 4, 6, 60.0),
        fails_s=450.0,
    )
    found = simulate(load, seconds=20_000.0)
    # so many streams has one of three replicas that are lost as often as this
    assert found.losses == pytest.approx(20_000 / 450 * found.replicas, rel=0.2)
    assert found.moves == pytest.approx(found.losses * found.streams / found.replicas, rel=0.25)
    assert not found.ended and found.pause_share < 1e-3
    alone = simulate(replace(load, bounds=fixed(1), start_s=40.0), seconds=20_000.0)
    assert alone.ended, "nobody has room for them until grace is over"


def test_replicas_come_with_the_crowd_and_go_with_it() -> None:
    load = FleetLoad(
        every_s=1.0,
        lasts_s=lambda draw: exponential(30.0, draw),
        places=4,
        bounds=Bounds(1, 20, 4, 60.0),
    )
    crowd = simulate(load, seconds=2000.0, settle_s=500.0)
    assert 30 / 4 < crowd.replicas < 14 and crowd.waited < 0.05
    quiet = simulate(replace(load, every_s=60.0), seconds=6000.0, settle_s=500.0)
    assert quiet.replicas < 2.5


@pytest.mark.long
@pytest.mark.slow
def test_a_larger_fleet_keeps_fewer_waiting() -> None:
    one, ten = table(Assumed(lasts_s=60.0), (1, 10))
    assert one["streams"] < ten["streams"] < 0.7 * 40 * 1.1
    assert ten["waited"] < one["waited"] and ten["refused"] < one["refused"] < 0.5
    assert ten["gpus_in_use"] <= 10
