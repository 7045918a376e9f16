"""A fleet on a real Ray cluster of this machine, and everything that may be lost of it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollcast.benchmarks.fleet.running_fleet import KEY, FleetOptions, RunningFleet, running_fleet
from rollcast.benchmarks.fleet.soak import named
from rollcast.benchmarks.fleet.viewer import Seen, view
from rollcast.server.fleet.controller_app import CONTROLLER
from rollcast.server.fleet.directory import authorization

pytestmark = [
    pytest.mark.peers,
    pytest.mark.processes,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default"),
]
pytest.importorskip("ray")


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningFleet]:
    # so that no grace time is over on a busy machine before a process is started
    options = FleetOptions(
        grace_s=200.0, nodes=2, least=2, most=3, places=6, gateways=2, calm_s=10.0, reserve=3
    )
    with running_fleet(options, lambda: authorization(KEY, CONTROLLER)) as running:
        yield running


def wait(found: Callable[[], Any], limit_s: float, told: Callable[[], Any]) -> Any:
    """The first that is found and is not empty; `told` says of a wait that was too long how it
    is."""
    until_s = time.monotonic() + limit_s
    while not (what := found()):
        assert time.monotonic() < until_s, told()
        time.sleep(0.2)
    return what


class Audience:
    """Viewers in a loop of their own, who speak and steer while something is lost."""

    def __init__(self, fleet: RunningFleet, count: int = 2) -> None:
        self._fleet = fleet
        self.seen = [Seen() for _ in range(count)]
        self._loop = asyncio.new_event_loop()
        self._until: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Audience:
        self._thread.start()
        self.wait_frames(10)
        return self

    def __exit__(self, *_: Any) -> None:
        self._loop.call_soon_threadsafe(lambda: self._until and self._until.set())
        self._thread.join(60)

    def _run(self) -> None:
        async def all_of_it() -> None:
            self._until = asyncio.Event()
            gateways = self._fleet.gateways
            await asyncio.gather(
                *(
                    view(gateways[k % len(gateways)], seen, self._until)
                    for k, seen in enumerate(self.seen)
                )
            )

        self._loop.run_until_complete(all_of_it())
        self._loop.close()

    def wait_frames(self, more: int, limit_s: float = 120.0) -> None:
        """Until each has seen so many frames more."""
        wanted = [len(each.shown) + more for each in self.seen]

        def shown() -> bool:
            assert not any(each.error for each in self.seen), [e.error for e in self.seen]
            return all(len(e.shown) >= n for e, n in zip(self.seen, wanted, strict=True))

        wait(shown, limit_s, lambda: [(len(e.shown), e.error) for e in self.seen])

    def check(self) -> None:
        """No error; between two replicas no frame is missing, and none came twice."""
        for seen in self.seen:
            assert not seen.error and not seen.lost and not seen.repeated and seen.answers


def there(fleet: RunningFleet) -> list[dict[str, Any]]:
    """Replicas that are ready, without those that were just lost, which the controller has not
    noticed: streams are moved sooner than that."""
    pids = {pid for node in fleet.cluster.nodes.values() for pid in node.pids}
    return [each for each in fleet.ready() if each["pid"] in pids]


def wait_there(fleet: RunningFleet, count: int) -> None:
    wait(lambda: len(there(fleet)) >= count, 300, fleet.status)


def busy(fleet: RunningFleet) -> dict[str, Any]:
    found = wait(lambda: [e for e in there(fleet) if e["streams"]], 60, fleet.status)
    return found[0]


def names(fleet: RunningFleet) -> set[str]:
    return {each["name"] for each in fleet.status()["replicas"]}


def test_replicas_do_not_stand_behind_other_programs(fleet: RunningFleet) -> None:
    """Ray starts what it runs at a niceness of 15, unless it is told not to."""
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert {os.getpriority(os.PRIO_PROCESS, each["pid"]) for each in fleet.ready()} == {mine}


def test_a_killed_replica(fleet: RunningFleet) -> None:
    with Audience(fleet) as audience:
        os.kill(busy(fleet)["pid"], signal.SIGKILL)
        audience.wait_frames(40)
        wait_there(fleet, 2)
    audience.check()
    # nothing stays of it: a group for each replica, and one actor more, which is the controller
    wait(
        lambda: fleet.cluster.count() == of_replicas(len(names(fleet))),
        60,
        lambda: (fleet.status(), fleet.cluster.count()),
    )


def of_replicas(count: int) -> dict[str, int]:
    return {"actors": count + 1, "groups": count}


def test_a_drained_replica_is_emptied_and_ended(fleet: RunningFleet) -> None:
    with Audience(fleet) as audience:
        name = busy(fleet)["name"]
        wait_there(fleet, 2)
        fleet.drain(name)
        audience.wait_frames(40)
        wait(lambda: name not in names(fleet), 90, fleet.status)
        wait_there(fleet, 2)
    audience.check()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_lost_node(fleet: RunningFleet, signum: signal.Signals) -> None:
    with Audience(fleet) as audience:
        pid = busy(fleet)["pid"]
        node = next(each for each in fleet.cluster.nodes.values() if pid in each.pids)
        assert node.number > 0
        pids = node.pids
        del fleet.cluster.nodes[node.number]
        fleet.cluster.add(4)
        node.send(signum)
        try:
            audience.wait_frames(40)
        finally:
            for each in pids:
                try:
                    os.kill(each, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        wait_there(fleet, 2)
    audience.check()


def test_a_controller_that_is_lost_is_started_again(fleet: RunningFleet) -> None:
    """Meanwhile gateways move streams by themselves; the next one finds what there is."""
    wait_there(fleet, 2)
    with Audience(fleet) as audience:
        lost = busy(fleet)
        others = {each["name"] for each in there(fleet)} - {lost["name"]}
        controller = named("ray::Controller", fleet.cluster.nodes[0].pids)
        assert controller is not None
        os.kill(controller, signal.SIGKILL)
        os.kill(lost["pid"], signal.SIGKILL)
        audience.wait_frames(40)
        wait_there(fleet, 2)
        found = names(fleet)
        assert others <= found and lost["name"] not in found
        audience.wait_frames(20)
    audience.check()


def test_a_gateway_that_ends_is_left_for_another_one(fleet: RunningFleet) -> None:
    """Its clients resume, as after any lost connection, at the one that listens there next."""
    wait_there(fleet, 2)
    with Audience(fleet) as audience:
        fleet.restart_gateway(0)
        audience.wait_frames(40)
    for seen in audience.seen:
        assert not seen.error and not seen.repeated


def test_an_upgrade_replaces_all_replicas(fleet: RunningFleet) -> None:
    wait_there(fleet, 2)
    before = {each["name"] for each in fleet.ready()}
    with Audience(fleet) as audience:
        fleet.upgrade()
        wait(lambda: not before & names(fleet), 200, fleet.status)
        wait_there(fleet, 2)
        audience.wait_frames(20)
    audience.check()
    assert sum(seen.moves for seen in audience.seen)


def test_a_crowd_is_served_by_another_replica_and_that_is_let_go_of(fleet: RunningFleet) -> None:
    """Six places each: the eleventh takes the reserve. Afterwards it was calm for long enough."""
    wait_there(fleet, 2)
    with Audience(fleet, 12) as audience:
        fleet.wait_ready(3)
        audience.wait_frames(5)
    for seen in audience.seen:
        assert not seen.error and not seen.lost
    wait(lambda: len(names(fleet)) <= 2, 120, fleet.status)


def test_without_the_head_what_runs_goes_on(fleet: RunningFleet) -> None:
    """The last one: nothing can be started any more. Moves still can be made."""
    wait_there(fleet, 2)
    with Audience(fleet) as audience:
        ready = fleet.ready()
        head = fleet.cluster.nodes[0]
        os.kill(fleet.cluster.gcs, signal.SIGKILL)
        head.kill()
        audience.wait_frames(60)
        alive = [each["pid"] for each in ready if Path(f"/proc/{each['pid']}").exists()]
        assert len(alive) >= 2, (ready, alive)
        os.kill(alive[0], signal.SIGKILL)
        audience.wait_frames(40)
    audience.check()
