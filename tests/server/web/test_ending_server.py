"""Ctrl+C drains, Ctrl+C again ends at once, and nobody sees a traceback."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT

import pytest

from rollcast.client import Frame, connect

from ...variants import some_of
from ..running import WAIT_S


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.processes
@pytest.mark.parametrize("presses", some_of([1, 2], 2))
async def test_ctrl_c_once_drains_and_twice_ends_at_once(presses: int) -> None:
    port = free_port()
    command = [sys.executable, "-P", "-m", "rollcast.server.cli", "serve", "--no-open"]
    command += ["--model", "test-pattern", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(4 * WAIT_S):
        while b"Rollcast is ready" not in said:
            said += await process.stdout.readline()
    async with connect(f"http://127.0.0.1:{port}", pace="reader") as stream:
        async for media in stream:
            if isinstance(media, Frame):
                break
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.3)
        async with asyncio.timeout(WAIT_S):
            rest, _ = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in said + rest
    # who was watching is told so at the end of the drain
    assert (b"code=draining" in rest) == (presses == 1)
