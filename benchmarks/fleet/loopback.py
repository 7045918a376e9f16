"""A Ray cluster of several nodes on 127.0.0.1, in a process of its own that is told what to do.

`python -m rollcast.benchmarks.fleet.loopback` reads one JSON object a line, `{"do": "add", "cpus":
2}`, answers each by one, and ends the cluster when its input ends. Its pids are told, so that who
asked can kill or stop whole nodes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MARK = "ROLLCAST_LOOPBACK_CLUSTER"
RECONNECT_S = 86_400
"""For so long nodes wait for a head that is gone; Ray's own minute would end all replicas."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node by its number, 0 is the head, and the process that all others of it come from."""

    number: int
    raylet: int

    @property
    def pids(self) -> list[int]:
        """All its processes now: the raylet and whatever it has started."""
        return [self.raylet, *descendants(self.raylet)]

    def send(self, signum: int) -> None:
        """Send all of them a signal, the raylet first."""
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    def kill(self) -> None:
        """As if its machine had lost its power; its sockets are closed all the same."""
        self.send(signal.SIGKILL)


class Cluster:
    """The cluster, from the outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.nodes: dict[int, Node] = {}
        self.address = ""

    def add(self, cpus: int, **more: Any) -> Node:
        """One more node; the first is the head."""
        said = self._ask({"do": "add", "cpus": cpus, **more})
        node = Node(said["number"], said["raylet"])
        self.nodes[node.number] = node
        self.address = said["address"]
        return node

    @property
    def gcs(self) -> int:
        """The process without which nothing can be started: the head's."""
        return self._ask({"do": "gcs"})["pid"]

    def count(self) -> dict[str, int]:
        """How many named actors and placement groups Ray has."""
        return self._ask({"do": "count"})

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None, "pipes"
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the cluster has ended ({self._process.poll()})")
        return json.loads(line)


@contextmanager
def cluster(nodes: int, cpus: int, log: Path | None = None) -> Iterator[Cluster]:
    """A head without CPUs and so many nodes with `cpus` each; all are gone at the end."""
    environment = {
        **os.environ,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(RECONNECT_S),
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "2000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
    }
    mark = uuid.uuid4().hex
    with ExitStack() as stack:
        errors = subprocess.DEVNULL if log is None else stack.enter_context(open(log, "a"))
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "rollcast.benchmarks.fleet.loopback"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**environment, _MARK: mark},
                start_new_session=True,
            )
        )
        here = Cluster(process)
        try:
            for number in range(nodes + 1):
                here.add(cpus if number else 0)
            yield here
        finally:
            # a process that names itself may have written over its environment
            every = {pid for first in marked(mark) for pid in [first, *descendants(first)]}
            assert process.stdin is not None, "a pipe"
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            for pid in every.union(marked(mark)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def marked(mark: str) -> list[int]:
    """All processes of the cluster with this mark, also those whose parents were killed."""
    wanted = f"{_MARK}={mark}".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def descendants(pid: int) -> list[int]:
    """All processes that come from one, by `/proc`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                stat = (entry / "stat").read_text()
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    left = [pid]
    while left:
        mine = children.get(left.pop(), [])
        found += mine
        left += mine
    return found


def _count(address: str) -> dict[str, Any]:
    """What Ray has under a name, and reserved."""
    import ray
    from ray.util import list_named_actors, placement_group_table

    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, _node_ip_address="127.0.0.1")
    groups: Any = placement_group_table()
    states = [each["state"] for each in groups.values()]
    held = [each for each in states if each != "REMOVED"]
    return {"actors": len(list_named_actors(all_namespaces=True)), "groups": len(held)}


def main() -> None:
    """Obey."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from ray.cluster_utils import Cluster as RayCluster

    ray_cluster = RayCluster(shutdown_at_exit=False)
    number = 0
    for line in sys.stdin:
        wish = json.loads(line)
        if wish["do"] == "add":
            node: Any = ray_cluster.add_node(
                num_cpus=wish["cpus"],
                node_ip_address="127.0.0.1",
                include_dashboard=False,
                object_store_memory=80 << 20,
                wait=True,
            )
            raylet = node.all_processes["raylet"][0].process.pid
            said = {"number": number, "raylet": raylet, "address": ray_cluster.address}
            number += 1
        elif wish["do"] == "count":
            said = _count(str(ray_cluster.address))
        else:
            head: Any = ray_cluster.head_node
            said = {"pid": head.all_processes["gcs_server"][0].process.pid}
        out.write(json.dumps(said) + "\n")
        out.flush()
    with suppress(Exception):
        ray_cluster.shutdown()


if __name__ == "__main__":
    main()
