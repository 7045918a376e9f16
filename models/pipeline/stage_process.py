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

from .agent import KEY_VARIABLE
from .frame_arena import FrameArena
from .heartbeat import Heartbeat, die_with_parent
from .launchers import connect


def run(arguments: Sequence[str]) -> None:
    """Be a stage until the connection to the executor closes."""
    parser = argparse.ArgumentParser(prog="stage")
    parser.add_argument("--fd", type=int)
    parser.add_argument("--arena-fd", type=int)
    parser.add_argument("--connect")
    parser.add_argument("--rank", type=int, default=0)
    given = parser.parse_args(arguments)
    for inherited in (given.fd, given.arena_fd):
        # by this process, and by none that the model may start
        if inherited is not None:
            os.set_inheritable(inherited, False)
    heartbeat = Heartbeat(_connection(given))
    heartbeat.beat()
    from .serve_stage import serve

    serve(heartbeat, None if given.arena_fd is None else FrameArena(given.arena_fd))


def _connection(given: argparse.Namespace) -> Connection:
    """The control connection: a socket that was inherited, or the executor's listener."""
    if given.fd is not None:
        return Connection(given.fd)
    host, _, port = given.connect.rpartition(":")
    return connect((host, int(port)), os.environ[KEY_VARIABLE].encode(), f"stage {given.rank}")


if __name__ == "__main__":
    die_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        run(sys.argv[1:])
    os._exit(1)
