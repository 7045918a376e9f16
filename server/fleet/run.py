"""A gateway as a process: it listens, and serves until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ...models.pipeline.heap import return_unused
from ..config import ServerConfig
from ..logs import configure_logs, logger
from ..web.tls import default_state_dir
from .fleet_directory import FleetDirectory
from .gateway import Gateway
from .gateway_app import build_gateway
from .launch import LOCAL, Launch
from .lobby import MOST_WAIT_S

STATE_FILE = "fleet.json"
LAUNCH_S = 180.0


class Known(msgspec.Struct):
    """What commands on this machine know of a fleet: its controller and its key."""

    controller: str
    key: str


class NotLaunched(OSError):
    """The controller did not start."""


def new_key() -> str:
    """A key that nobody guesses."""
    return secrets.token_urlsafe(32)


def remember(known: Known, folder: Path | None = None) -> None:
    """Let other commands of this user find the fleet."""
    path = (folder or default_state_dir()) / STATE_FILE
    opener = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(opener, "wb") as file:
        file.write(msgspec.json.encode(known))


def remembered(folder: Path | None = None) -> Known | None:
    """The fleet that was started last by this user, if any was."""
    try:
        path = (folder or default_state_dir()) / STATE_FILE
        return msgspec.json.decode(path.read_bytes(), type=Known)
    except (OSError, msgspec.DecodeError):
        return None


@contextmanager
def launched(launch: Launch) -> Iterator[str]:
    """The controller's address; a cluster of our own lasts as long as this.

    Raises NotLaunched.
    """
    command = [sys.executable, "-P", "-m", "rollcast.server.fleet.launch"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None and process.stdout is not None, "both are pipes"
    try:
        process.stdin.write(msgspec.json.encode(launch) + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise NotLaunched(f"Ray did not start the controller (exit {process.wait()})")
        yield msgspec.json.decode(line)["controller"]
    finally:
        process.stdin.close()
        try:
            process.wait(30 if launch.address == LOCAL else 5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_gateway(
    config: ServerConfig,
    listener: socket.socket,
    controller: str,
    *,
    own_url: str | None = None,
    most_wait_s: float = MOST_WAIT_S,
) -> None:
    """Serve on a listening socket until the process is told to stop."""
    configure_logs(config.log_format, config.log_level)
    asyncio.run(_run(config, listener, controller, own_url, most_wait_s))


async def _run(
    config: ServerConfig,
    listener: socket.socket,
    controller: str,
    own_url: str | None,
    most_wait_s: float,
) -> None:
    assert config.fleet_key is not None, "a gateway has the fleet's key"
    port = listener.getsockname()[1]
    url = own_url or f"{'https' if config.tls else 'http'}://{config.host}:{port}"
    directory = FleetDirectory(config.fleet_key.reveal(), controller, url)
    gateway = Gateway(config, directory, most_wait_s=most_wait_s)
    directory.counts = lambda: (gateway.waited_s(), len(gateway.carriers))
    server = build_gateway(gateway)
    logger("rollcast").info("gateway", url=url, controller=controller)
    directory.start()
    return_unused()
    try:
        await server.serve(sockets=[listener])
    finally:
        await directory.close()
