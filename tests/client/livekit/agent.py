"""A LiveKit agent with an unchanged avatar plugin, run by the Python that has LiveKit Agents.

    python agent.py CONTRACT LIVEKIT_URL API_URL ROOM PLAN

CONTRACT is `bithuman` or `liveavatar`. PLAN is JSON: `[hz, seconds, cut]` for each sentence, a tone
that is interrupted after `cut` seconds, or not if that is null. What happens is printed as JSON, a
list of `[when, what, ...]` by the monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import livekit.plugins.bithuman.avatar as bithuman
import numpy as np
from livekit import api, rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.utils import http_context
from livekit.plugins import liveavatar
from PIL import Image

RATE = 24_000
KEY, SECRET = "devkey", "secret" * 8


async def tone(hz: float, seconds: float) -> AsyncIterator[rtc.AudioFrame]:
    """Speech five times as fast as it is spoken, as a voice service sends it."""
    wave = 9000 * np.sin(2 * np.pi * hz * np.arange(int(RATE * seconds)) / RATE)
    for begin in range(0, len(wave), RATE // 50):
        piece = wave[begin : begin + RATE // 50].astype(np.int16)
        yield rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece))
        await asyncio.sleep(0.004)


def avatar_of(contract: str, url: str) -> bithuman.AvatarSession | liveavatar.AvatarSession:
    secret = os.environ.get("ROLLCAST_LIVEKIT_SECRET", "any")
    if contract == "liveavatar":
        return liveavatar.AvatarSession(api_url=url, api_key=secret, avatar_id="bars")
    # the one thing that is not as in a job of LiveKit's: the plugin asks the job who it is
    bithuman.get_job_context = lambda *_, **__: SimpleNamespace(local_participant_identity="agent")
    face = os.environ.get("FACE")
    whose: dict[str, Any] = {"avatar_image": Image.open(face)} if face else {"avatar_id": "bars"}
    return bithuman.AvatarSession(api_url=url, api_secret=secret, model="expression", **whose)


async def run(contract: str, livekit_url: str, api_url: str, room_name: str, plan: list) -> list:
    told: list[list] = []

    def tell(*what: object) -> None:
        told.append([time.monotonic(), *what])

    async with http_context.open():
        grants = api.VideoGrants(room_join=True, room=room_name)
        token = api.AccessToken(KEY, SECRET).with_identity("agent").with_kind("agent")
        room = rtc.Room()
        await room.connect(livekit_url, token.with_grants(grants).to_jwt())
        session = AgentSession()
        avatar = avatar_of(contract, api_url)
        tell("launch")
        await avatar.start(
            session,
            room,
            livekit_url=livekit_url,
            livekit_api_key=KEY,
            livekit_api_secret=SECRET,
        )
        await avatar.wait_for_join(timeout=60)
        tell("joined")
        out = session.output.audio
        assert out is not None
        out.on("playback_started", lambda _: tell("started"))
        out.on("playback_finished", lambda e: tell("finished", e.playback_position, e.interrupted))
        await session.start(Agent(instructions=""))
        await asyncio.sleep(1.0)
        for hz, seconds, cut in plan:
            tell("say", hz, seconds)
            speech = session.say(f"tone {hz}", audio=tone(hz, seconds), allow_interruptions=True)
            if cut is not None:
                await asyncio.sleep(cut)
                tell("interrupt")
                await session.interrupt()
            await asyncio.wait_for(speech.wait_for_playout(), 60)
            tell("over", speech.interrupted)
            await asyncio.sleep(0.3 if cut is None else 0.0)
        await session.aclose()
        await avatar.aclose()
        await room.disconnect()
        tell("left")
    return told


if __name__ == "__main__":
    contract, livekit_url, api_url, room, plan = sys.argv[1:]
    print(json.dumps(asyncio.run(run(contract, livekit_url, api_url, room, json.loads(plan)))))
    sys.stdout.flush()
    # all is said: LiveKit's threads abort now and then when they meet an interpreter that ends
    os._exit(0)
