"""The process of a stage: it is heard from its first moment on, long before torch is there.

Started by `launchers` as `python -m rollcast.models.pipeline.stage_process`, or on another machine
by `agent`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

from .heartbeat import Heartbeat, die_with_parent
from .launchers import KEY_VARIABLE, Inheritance


def run(arguments: Sequence[str]) -> None:
    """Be a stage until the connection to the executor closes."""
    parser = argparse.ArgumentParser(prog="stage")
    parser.add_argument("--fd", type=int)
    parser.add_argument("--arena-fd", type=int)
    parser.add_argument("--store-fd", type=int)
    parser.add_argument("--link", action="append", default=[], type=_ranked)
    parser.add_argument("--connect")
    parser.add_argument("--rank", type=int, default=0)
    given = parser.parse_args(arguments)
    shared = Inheritance(given.arena_fd, given.store_fd, dict(given.link))
    for inherited in (*shared.descriptors, *([] if given.fd is None else [given.fd])):
        # by this process, and by none that the model may start
        os.set_inheritable(inherited, False)
    heartbeat = Heartbeat(_connection(given))
    heartbeat.beat()
    from .serve_stage import serve

    serve(heartbeat, shared)


def _ranked(text: str) -> tuple[int, int]:
    """A rank and a file descriptor."""
    rank, _, fd = text.partition(":")
    return int(rank), int(fd)


def _connection(given: argparse.Namespace) -> Connection:
    """The control connection: a socket that was inherited, or the executor's listener."""
    if given.fd is not None:
        return Connection(given.fd)
    from .secure_channel import connect

    host, _, port = given.connect.rpartition(":")
    return connect((host, int(port)), os.environ[KEY_VARIABLE].encode(), f"stage {given.rank}")


if __name__ == "__main__":
    die_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        run(sys.argv[1:])
    os._exit(1)
