"""A whole fleet on this machine: nodes, controller, replicas, and gateways in their processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .loopback import Cluster, cluster

START_S = 300.0
KEY = "the key of a fleet that lasts as long as a benchmark"
Authorize = Callable[[], dict[str, str]]
"""The headers of a request to the controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """`replicas` at once (`least` to `most`) of `model`, each with `places`, on `nodes`."""

    model: str = "test-pattern"
    nodes: int = 2
    cpus_per_node: int = 4
    least: int = 2
    most: int = 2
    places: int = 6
    reserve: int = 1
    grace_s: float = 30.0
    calm_s: float = 60.0
    gateways: int = 1
    threads: int = 1
    log: Path | None = None


@dataclass
class RunningFleet:
    """What is known of it from the outside."""

    cluster: Cluster
    controller: str
    authorize: Authorize
    options: FleetOptions
    gateways: list[str] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def status(self) -> dict[str, Any]:
        """What the controller says. Raises OSError."""
        return self._ask("GET", "/status")

    def drain(self, name: str) -> None:
        """Let a replica be emptied."""
        self._ask("POST", f"/drain/{name}")

    def upgrade(self) -> None:
        """Let all replicas be replaced."""
        self._ask("POST", "/upgrade")

    def start_gateway(self, port: int) -> subprocess.Popen[bytes]:
        """One more process that listens there. Raises RuntimeError if it does not."""
        command = [
            *(sys.executable, "-P", "-m", "rollcast.server.cli", "fleet", "gateway"),
            *("--controller", self.controller, "--key", KEY, "--port", str(port)),
        ]
        errors = _errors(self.options)
        process = subprocess.Popen(command, stdout=errors, stderr=errors, start_new_session=True)
        until_s = time.monotonic() + START_S
        try:
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > until_s:
                    raise RuntimeError(f"the gateway does not listen ({process.poll()})")
                time.sleep(0.1)
        except BaseException:
            # nobody else knows of it yet: a bench that is ended now would leave it
            end(process)
            raise
        return process

    def restart_gateway(self, number: int) -> None:
        """End a gateway in order, and start another one in its place."""
        end(self.processes[number])
        port = int(self.gateways[number].rpartition(":")[2])
        self.processes[number] = self.start_gateway(port)

    def ready(self) -> list[dict[str, Any]]:
        """The replicas that take streams, none while the controller is away."""
        try:
            said = self.status()["replicas"]
        except OSError:
            return []
        return [each for each in said if each["condition"] == "ready"]

    def wait_ready(self, count: int, limit_s: float = START_S) -> None:
        """Until so many replicas take streams. Raises TimeoutError."""
        until_s = time.monotonic() + limit_s
        while len(self.ready()) < count:
            if time.monotonic() > until_s:
                raise TimeoutError(f"{count} replicas are not ready in {limit_s:g} s")
            time.sleep(0.2)

    def wait_open(self, limit_s: float = START_S) -> None:
        """Until all gateways have places to give. Raises TimeoutError."""
        until_s = time.monotonic() + limit_s
        for gateway in self.gateways:
            while not _is_open(gateway):
                if time.monotonic() > until_s:
                    raise TimeoutError(f"{gateway} has no place in {limit_s:g} s")
                time.sleep(0.2)

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(
            self.controller + path, method=method, headers=self.authorize()
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            body = answer.read()
        return json.loads(body) if body else None


@contextmanager
def running_fleet(options: FleetOptions, authorize: Authorize) -> Iterator[RunningFleet]:
    """Start all of it, and end it."""
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(options.nodes, options.cpus_per_node, options.log))
        controller = _launch(nodes.address, options)
        fleet = RunningFleet(nodes, controller, authorize, options)
        stack.callback(lambda: [end(process) for process in fleet.processes])
        for _ in range(options.gateways):
            port = free_port()
            fleet.processes.append(fleet.start_gateway(port))
            fleet.gateways.append(f"http://127.0.0.1:{port}")
        fleet.wait_ready(options.least)
        fleet.wait_open()
        yield fleet


def _launch(address: str, options: FleetOptions) -> str:
    settings = {
        "models": [options.model],
        "threads": options.threads,
        "max_sessions": options.places,
        "trusted_proxies": ["127.0.0.1"],
        "max_waiting": 0,
        "webrtc": False,
        "grace_s": options.grace_s,
        # else a busy machine changes what is shown: half of the frames would be left out
        "keep_quality": True,
        "log_level": "warning",
    }
    launch = {
        "address": address,
        "controller": {
            "key": KEY,
            "settings": settings,
            "bundle": {"CPU": 1},
            "least": options.least,
            "most": options.most,
            "calm_s": options.calm_s,
            "reserve": options.reserve,
            "grace_s": options.grace_s,
        },
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rollcast.server.fleet.launch"],
        input=json.dumps(launch).encode() + b"\n",
        stdout=subprocess.PIPE,
        stderr=_errors(options),
        timeout=START_S,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        check=True,
    )
    return json.loads(done.stdout)["controller"]


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, in order if it can be."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _is_open(gateway: str) -> bool:
    try:
        with urllib.request.urlopen(f"{gateway}/ready", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _errors(options: FleetOptions) -> Any:
    return subprocess.DEVNULL if options.log is None else open(options.log, "a")
