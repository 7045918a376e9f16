"""A whole evening in one process tree: a server, rooms, the worker, and agents in them; a report.

    python -m tests.client.livekit.scene CONTRACT AGENTS_PYTHON ROOMS PLAN SHORT WATCH

CONTRACT is `bithuman`, `liveavatar`, or `example` for examples/livekit_agent.py in a job.
Every room has an agent of its own, all at once; after them SHORT avatars come to a room each and
leave again, one after the other. With WATCH, which is 0 or 1, a browser is in the first room. The
report is JSON on the last line.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from rollcast.benchmarks.stream.processor_time import process_s
from rollcast.models.test_pattern import read_barcode
from tests.client.lateness import Lateness
from tests.client.livekit.room_server import RoomServer, Seen, serving
from tests.client.livekit.viewer import summary, watching
from tests.server.running import RunningServer, running

HERE = Path(__file__).parent
TONES = (300, 500, 700, 900, 1100, 1300)
LOUD = 500
CLOSED = 5
AVATAR = {
    "bithuman": "bithuman-avatar-agent",
    "liveavatar": "liveavatar-avatar-agent",
    "example": "bithuman-avatar-agent",
}
PATHS = {"bithuman": "/launch", "liveavatar": "/v1/sessions", "example": "/launch"}
PROGRAMS = {"example": "job.py"}
SECRET = "of this evening"


def tone_of(samples: np.ndarray) -> int:
    """Which of the tones is heard; 0 for silence."""
    if np.abs(samples.astype(int)).max(initial=0) < LOUD:
        return 0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8192))
    hz = np.argmax(spectrum) * 48_000 / 8192
    return min(TONES, key=lambda each: abs(each - hz))


def mouth_of(picture: np.ndarray) -> int:
    """How far the pattern's mouth is open, in dark pixels of a column through it."""
    height = picture.shape[0]
    column = picture[70 * height // 128 : 106 * height // 128, height // 2]
    return int((column.astype(int).sum(-1) < 130).sum())


def report_of(seen: Seen, told: list[list[Any]]) -> dict[str, Any]:
    heard = [(at_s, tone_of(samples)) for at_s, samples in seen.sound]
    frames = [(at_s, read_barcode(picture), mouth_of(picture)) for at_s, picture in seen.frames]
    says = [(each[0], each[2]) for each in told if each[1] == "say"]
    cuts = [each[0] for each in told if each[1] == "interrupt"]
    opens = [b[0] for a, b in pairwise(frames) if a[2] <= CLOSED < b[2]]
    sentences = []
    for at_s, hz in says:
        sounds = [when for when, what in heard if what == hz]
        sentences.append(
            {
                "hz": hz,
                "sound_ms": 1e3 * (sounds[0] - at_s) if sounds else None,
                "skew_ms": 1e3 * (sounds[0] - nearest(opens, sounds[0])) if sounds else None,
                "heard_s": 0.02 * len(sounds),
            }
        )
    numbers = [number for _, number, _ in frames]
    return {
        "told": told,
        "sentences": sentences,
        "silent_ms": [1e3 * _silence_after(heard, cut_s) for cut_s in cuts],
        "loud_s": 0.02 * sum(hz > 0 for _, hz in heard),
        "frames": len(numbers),
        "gaps": sum(b - a != 1 for a, b in pairwise(numbers)),
        "kinds": sorted(seen.kinds),
    }


def nearest(times_s: list[float], wanted_s: float) -> float:
    """The one of these times that is nearest to another; that itself where there is none."""
    return min(times_s, key=lambda each: abs(each - wanted_s), default=wanted_s)


def _silence_after(heard: list[tuple[float, int]], cut_s: float) -> float:
    """How long after the cut the sentence that was spoken then is still heard."""
    before = [hz for at_s, hz in heard if at_s <= cut_s and hz]
    if not before:
        return 0.0
    return max((at_s - cut_s for at_s, hz in heard if at_s > cut_s and hz == before[-1]), default=0)


async def worker(server: RunningServer) -> tuple[asyncio.subprocess.Process, str]:
    """`rollcast livekit` as it is installed, and where it listens."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "rollcast.server.cli", "livekit"),
        *("--server", server.http, "--port", "0", "--max-avatars", "20"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "ROLLCAST_LIVEKIT_SECRET": SECRET},
    )
    assert process.stderr is not None
    while True:
        line = (await process.stderr.readline()).decode()
        if not line:
            raise RuntimeError("the worker ended")
        sys.stderr.write(line)
        if found := re.search(r"api_url=(http://\S+)/launch", line):
            return process, found[1]


async def agent(
    python: str, contract: str, rooms: RoomServer, url: str, room: str, plan: str
) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(
            python,
            "-P",
            str(HERE / PROGRAMS.get(contract, "agent.py")),
            contract,
            rooms.url,
            url + PATHS[contract],
        ),
        *(room, plan),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "ROLLCAST_LIVEKIT_SECRET": SECRET},
    )
    output, _ = await process.communicate()
    if process.returncode:
        said = output.decode(errors="replace")[-200:]
        raise RuntimeError(f"the agent ended with {process.returncode}; it had said: {said}")
    told = json.loads(output.splitlines()[-1])
    return report_of(rooms.seen[room, AVATAR[contract]], told)


async def come_and_go(rooms: RoomServer, url: str, pid: int, count: int) -> list[dict[str, int]]:
    """So many avatars, one after the other, and what the worker holds after the third and last."""
    held: list[dict[str, int]] = []
    async with httpx.AsyncClient(base_url=url + "/v1/sessions", timeout=60) as http:
        for number in range(count):
            config = {
                "livekit_url": rooms.url,
                "livekit_client_token": room_token(f"short-{number}"),
            }
            wanted = {"mode": "LITE", "avatar_id": "bars", "livekit_config": config}
            answer = await http.post("/token", json=wanted, headers={"X-API-KEY": SECRET})
            session = answer.raise_for_status().json()["data"]
            by = {"Authorization": f"Bearer {session['session_token']}"}
            body = {"session_id": session["session_id"]}
            (await http.post("/start", json=body, headers=by)).raise_for_status()
            (await http.post("/stop", json=body, headers=by)).raise_for_status()
            if number in (2, count - 1):
                await asyncio.sleep(1.0)
                held.append(_held(pid))
    return held


def _held(pid: int) -> dict[str, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    kb = int(re.findall(r"VmRSS:\s+(\d+)", status)[0])
    threads = int(re.findall(r"Threads:\s+(\d+)", status)[0])
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return {"megabytes": kb // 1024, "threads": threads, "files": files}


def room_token(room: str, identity: str = "avatar", kind: str = "agent") -> str:
    """As LiveKit's access tokens look; the server of the tests trusts it."""
    claims = {"sub": identity, "kind": kind, "video": {"room": room, "roomJoin": True}}
    parts = ({"alg": "HS256", "typ": "JWT"}, claims, {})
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


async def _echo(stream: asyncio.StreamReader) -> None:
    while line := await stream.readline():
        sys.stderr.write(line.decode())


async def main(
    contract: str, python: str, count: str, plan: str, short: str, watch_it: str
) -> None:
    async with running(max_sessions=20) as server, serving() as rooms:
        process, url = await worker(server)
        assert process.stderr is not None
        echo = asyncio.create_task(_echo(process.stderr))
        try:
            lateness = Lateness()
            watch = asyncio.create_task(lateness.watch())
            names = [f"room-{number}" for number in range(int(count))]
            begin_s, used_s = time.monotonic(), process_s(process.pid)
            async with AsyncExitStack() as stack:
                if int(watch_it):
                    token = room_token(names[0], "viewer", "standard")
                    look = await stack.enter_async_context(watching(rooms.url, token))
                reports = await asyncio.gather(
                    *(agent(python, contract, rooms, url, name, plan) for name in names)
                )
                watch.cancel()
                share = (process_s(process.pid) - used_s) / (time.monotonic() - begin_s)
                if int(watch_it):
                    skew_s = time.time() - time.monotonic()
                    reports[0]["viewer"] = summary(await look(), reports[0]["told"], TONES, skew_s)
            held = await come_and_go(rooms, url, process.pid, int(short)) if int(short) else []
            await _settle(server)
            left = len(server.engine.streams)
        finally:
            process.terminate()
            code = await process.wait()
            await echo
    report = {
        "rooms": reports,
        "held": held,
        "streams_left": left,
        "worker_core_share": share,
        "worker_ended": code,
        "late_ms": lateness.most_ms,
    }
    print(json.dumps(report))


async def _settle(server: RunningServer) -> None:
    """Give the worker the time after which it leaves a room without an agent."""
    for _ in range(150):
        if not len(server.engine.streams):
            return
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
