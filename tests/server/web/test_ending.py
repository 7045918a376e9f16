"""A server ends in time when it is told to, whatever hangs in it, and leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rollcast.server.web.ending import ends_in_time

from ...processes import alive
from ...variants import some_of
from ..running import Viewer, until, viewing

pytestmark = pytest.mark.processes
STARTS_S = 60.0
# far from the 5 s in which it ends on an idle machine, and from never
ENDS_S = 40.0


@asynccontextmanager
async def serving(what: str, folder: Path) -> AsyncIterator[tuple[Process, str]]:
    """A server's process and its address."""
    script = Path(__file__).with_name("serve_broken.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(script), what),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        assert process.stdout is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), STARTS_S))
        yield process, f"ws://127.0.0.1:{port}/v1/stream"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def stages_of(process: Process) -> list[int]:
    """The model's processes."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


async def ended(process: Process) -> str:
    """What it said, once it has ended."""
    assert process.stderr is not None
    _, error = await asyncio.wait_for(process.communicate(), ENDS_S)
    return error.decode()


async def gone(pids: list[int]) -> None:
    """They end with the server: the kernel tells them when it has."""
    await until(lambda: not any(alive(pid) for pid in pids))


async def drained(viewer: Viewer) -> None:
    await viewer.wait_message(lambda message: message["type"] == "draining")
    assert await viewer.wait_closed() == 4503


@pytest.mark.parametrize(
    "number", some_of([signal.SIGTERM, signal.SIGINT, signal.SIGHUP], signal.SIGTERM, signal.SIGINT)
)
async def test_it_drains_and_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    async with serving("nothing", tmp_path) as (process, url):
        async with viewing(url) as viewer:
            await viewer.wait_frames(4)
            pids = stages_of(process)
            process.send_signal(number)
            await drained(viewer)
        error = await ended(process)
    assert "it is ended now" not in error and "Traceback" not in error
    assert pids
    await gone(pids)
    assert not list(tmp_path.iterdir())


async def test_two_hung_encodes_do_not_hold_it_up(tmp_path: Path) -> None:
    async with serving("encoders", tmp_path) as (process, url), viewing(url), viewing(url):
        await asyncio.sleep(1)
        process.send_signal(signal.SIGTERM)
        error = await ended(process)
    assert "it is ended now" not in error, "they are given up, no last resort is needed"


async def test_a_loop_that_hangs_is_ended_all_the_same(tmp_path: Path) -> None:
    async with serving("loop", tmp_path) as (process, url):
        pids = stages_of(process)
        opening = asyncio.create_task(_open(url))
        await asyncio.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        error = await ended(process)
        opening.cancel()
    assert process.returncode == 1 and "it is ended now" in error
    assert pids
    # the kernel ends them; nobody is left here to wait for them
    await until(lambda: not any(alive(pid) for pid in pids))


async def test_a_model_that_hangs_at_the_start_does_not_hold_it_up(tmp_path: Path) -> None:
    async with serving("loading", tmp_path) as (process, _):
        async with asyncio.timeout(STARTS_S):
            while not stages_of(process):
                await asyncio.sleep(0.05)
        pids = stages_of(process)
        process.send_signal(signal.SIGTERM)
        error = await ended(process)
    assert "it is ended now" not in error
    await gone(pids)


def test_what_ends_by_itself_is_left_alone() -> None:
    handler = signal.getsignal(signal.SIGHUP)
    with ends_in_time(0.01):
        pass
    assert signal.getsignal(signal.SIGHUP) is handler
    assert not any(thread.name == "last-resort" for thread in threading.enumerate())


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_in_time(600.0):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, handler)


async def _open(url: str) -> None:
    async with viewing(url):
        await asyncio.sleep(3600)
