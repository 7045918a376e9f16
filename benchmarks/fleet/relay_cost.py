"""What the way through a gateway costs: processor time of a stream, and time of a message."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from .running_fleet import Authorize, FleetOptions, free_port, running_fleet
from .viewer import Seen, view

PINGS = 300
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(
    options: FleetOptions,
    viewers: int,
    seconds: float,
    authorize: Authorize,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """A gateway's share of a core for each stream, and round trips through it and without it."""
    with running_fleet(options, authorize) as fleet:
        say("the fleet is there")
        pid = fleet.processes[0].pid
        share = asyncio.run(_share(fleet.gateways[0], pid, viewers, seconds))
        through = asyncio.run(_round_trips(fleet.gateways[0]))
    say("and now without one")
    port = free_port()
    command = [
        *(sys.executable, "-P", "-m", "rollcast.server.cli", "serve", "--no-open"),
        *("--model", options.model, "--port", str(port), "--threads", str(options.threads)),
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        direct = asyncio.run(_round_trips(f"http://127.0.0.1:{port}"))
    finally:
        server.terminate()
        server.wait()
    return {
        "viewers": viewers,
        "core_share_per_stream": round(share / viewers, 5),
        "through_ms": through,
        "direct_ms": direct,
        "added_ms": {key: round(through[key] - direct[key], 3) for key in through},
    }


async def _share(url: str, pid: int, viewers: int, seconds: float) -> float:
    until = asyncio.Event()
    seen = [Seen() for _ in range(viewers)]
    tasks = [asyncio.create_task(view(url, each, until, keep=100)) for each in seen]
    while not all(each.shown or each.error for each in seen):
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    before_s, began_s = _processor_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    share = (_processor_s(pid) - before_s) / (time.monotonic() - began_s)
    until.set()
    await asyncio.gather(*tasks)
    return share


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def _round_trips(url: str) -> dict[str, float]:
    until_s = time.monotonic() + 120
    while True:
        try:
            return await _pings(url.replace("http", "ws", 1) + "/v1/stream")
        except (OSError, KeyError):
            if time.monotonic() > until_s:
                raise
            await asyncio.sleep(1)


async def _pings(url: str) -> dict[str, float]:
    async with connect(url, max_size=None) as socket:
        await socket.send(json.dumps({"type": "hello", "versions": [1], "codecs": ["jpeg"]}))
        await socket.recv()
        await socket.send(json.dumps({"type": "session.create"}))
        if json.loads(await socket.recv())["type"] != "session.ready":
            raise KeyError("no stream")
        took_ms: list[float] = []
        for number in range(PINGS):
            began_s = time.perf_counter()
            await socket.send(json.dumps({"type": "ping", "event_id": f"{number}", "t_ms": 0}))
            while True:
                data = await socket.recv()
                if isinstance(data, str) and json.loads(data).get("event_id") == f"{number}":
                    break
            took_ms.append((time.perf_counter() - began_s) * 1e3)
            await asyncio.sleep(0.02)
        await socket.send(json.dumps({"type": "session.close"}))
    took_ms.sort()
    return {"least": round(took_ms[0], 3), "median": round(took_ms[PINGS // 2], 3)}
