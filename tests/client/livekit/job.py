"""examples/livekit_agent.py in a job of LiveKit Agents, as its workers run them.

    python job.py CONTRACT LIVEKIT_URL API_URL ROOM SECONDS

Prints an empty list, as `agent.py` prints what happened.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from pathlib import Path

from livekit.agents import AgentServer, JobExecutorType, WorkerOptions
from livekit.protocol import models

EXAMPLE = Path(__file__).parents[3] / "examples" / "livekit_agent.py"


async def main(livekit_url: str, api_url: str, room: str, seconds: float) -> None:
    os.environ["ROLLCAST_LIVEKIT_URL"] = api_url
    spec = importlib.util.spec_from_file_location("livekit_agent", EXAMPLE)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    server = AgentServer.from_server_options(
        WorkerOptions(
            entrypoint_fnc=example.entrypoint,
            job_executor_type=JobExecutorType.THREAD,
            ws_url=livekit_url,
            api_key="devkey",
            api_secret="secret" * 8,
            port=0,
        )
    )
    running = asyncio.create_task(server.run(devmode=True, unregistered=True))
    await asyncio.sleep(2)
    await server.simulate_job(
        room, agent_identity="agent", room_info=models.Room(sid="RM_1", name=room)
    )
    await asyncio.sleep(seconds)
    await server.aclose()
    running.cancel()


if __name__ == "__main__":
    os.environ["LIVEKIT_URL"] = sys.argv[2]
    os.environ["LIVEKIT_API_KEY"], os.environ["LIVEKIT_API_SECRET"] = "devkey", "secret" * 8
    livekit_url, api_url, room, seconds = sys.argv[2:]
    asyncio.run(main(livekit_url, api_url, room, float(seconds)))
    print("[]")
