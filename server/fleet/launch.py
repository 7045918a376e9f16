"""A process that tells Ray of the fleet, so that the gateway need not be one of Ray's.

`python -m rollcast.server.fleet.launch` reads what to do as JSON from its first line of input,
writes the controller's address as one of output, and then ends, or, where it has started Ray
itself, stays until its input ends, and Ray with it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

import msgspec

from .controller import ControllerSettings, controller_actor

LOCAL = "local"
START_S = 120.0


class Launch(msgspec.Struct, frozen=True):
    """`address` of a cluster, or `local` for one on this machine with `cpus`."""

    address: str
    controller: ControllerSettings
    cpus: int | None = None
    gpus: int | None = None


def main() -> None:
    """Start or find the controller."""
    launch = msgspec.json.decode(sys.stdin.readline(), type=Launch)
    # its words are not for who reads the address
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    url = _launch(launch)
    out.write(msgspec.json.encode({"controller": url}).decode() + "\n")
    out.flush()
    if launch.address == LOCAL:
        sys.stdin.read()


def _launch(launch: Launch) -> str:
    if launch.address == LOCAL or launch.address.startswith("127."):
        # before it is imported: else Ray turns 127.0.0.1 into the host's own address
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if launch.address == LOCAL:
        # replicas are no batch jobs that make way for whatever else runs, as Ray has it
        os.environ.setdefault("RAY_worker_niceness", "0")
    import ray
    from ray.exceptions import ActorUnavailableError

    options: dict[str, Any] = {"log_to_driver": False, "namespace": "rollcast"}
    if launch.address == LOCAL:
        options |= {
            "num_cpus": launch.cpus,
            "num_gpus": launch.gpus,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    else:
        options["address"] = launch.address
        if launch.address.startswith("127."):
            options["_node_ip_address"] = "127.0.0.1"
    ray.init(**options)
    settings = launch.controller
    if not settings.port:
        # the same one for the controller that Ray starts when this is lost
        settings = msgspec.structs.replace(settings, port=_free_port(settings.host))
    actor = controller_actor(settings)
    until_s = time.monotonic() + START_S
    while True:
        try:
            return ray.get(actor.start.remote(), timeout=START_S)
        except ActorUnavailableError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.2)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        return listener.getsockname()[1]


if __name__ == "__main__":
    main()
