"""The viewer and the attacker as processes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..stream.server_process import ServerDied

NOTHING = "nothing"
"""The name of no attack, which the others are held against."""


@contextmanager
def watching(url: str, seconds: float, token: str) -> Iterator[subprocess.Popen[str]]:
    """A healthy viewer for so long, who has begun to see something. Raises ServerDied."""
    with _process("watcher", [url, str(seconds)], token) as viewer:
        assert viewer.stdout is not None
        if viewer.stdout.readline().strip() != "steady":
            raise ServerDied("the viewer ended before it saw anything")
        yield viewer


@contextmanager
def under_attack(name: str, port: int, token: str) -> Iterator[None]:
    """An attack while this lasts."""
    if name == NOTHING:
        yield
        return
    with _process("attacks", [name, str(port)], token) as attacker:
        try:
            yield
        finally:
            attacker.terminate()


def last_line(process: subprocess.Popen[str]) -> str:
    """What it printed last, once it has ended. Raises ServerDied if that is nothing."""
    assert process.stdout is not None
    lines = process.stdout.read().strip().splitlines()
    if not lines:
        raise ServerDied("the viewer lost its stream")
    return lines[-1]


@contextmanager
def _process(module: str, arguments: Sequence[str], token: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", f"rollcast.benchmarks.attack.{module}", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "ROLLCAST_TOKEN": token},
    )
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
