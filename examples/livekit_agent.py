"""A LiveKit agent with a face: the plugin for bitHuman, unchanged, sends for one of Rollcast's.

    pip install livekit-agents livekit-plugins-bithuman && sudo apt install espeak-ng
    rollcast serve --no-open &
    rollcast livekit &
    export LIVEKIT_URL=... LIVEKIT_API_KEY=... LIVEKIT_API_SECRET=...
    python examples/livekit_agent.py dev

It greets whoever comes, and says what is typed in the room's chat; type while it speaks and it is
interrupted. Speech is made by espeak-ng; give the `AgentSession` your recogniser, language model
and voice as ever: the two lines of the avatar stay as they are.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli
from livekit.plugins import bithuman
from PIL import Image

VOICE_RATE = 22_050
GREETING = "Hello. Type something, and I say it."


async def spoken(text: str) -> AsyncIterator[rtc.AudioFrame]:
    """The text as espeak-ng says it."""
    process = await asyncio.create_subprocess_exec(
        *("espeak-ng", "-v", "en", "--stdout", "--", text), stdout=asyncio.subprocess.PIPE
    )
    data, _ = await process.communicate()
    samples = data[44 : len(data) // 2 * 2]
    step = VOICE_RATE // 10 * 2
    for begin in range(0, len(samples), step):
        piece = samples[begin : begin + step]
        yield rtc.AudioFrame(piece, VOICE_RATE, 1, len(piece) // 2)


async def entrypoint(ctx: JobContext) -> None:
    """One room's job."""
    await ctx.connect()
    session = AgentSession()

    # The avatar: a picture of a face, or `avatar_id` with the name of one of the server's.
    face = os.environ.get("ROLLCAST_FACE")
    whose: dict[str, Any] = {"avatar_image": Image.open(face)} if face else {"avatar_id": ""}
    avatar = bithuman.AvatarSession(
        api_url=os.environ.get("ROLLCAST_LIVEKIT_URL", "http://127.0.0.1:8100/launch"),
        api_secret=os.environ.get("ROLLCAST_LIVEKIT_SECRET", "none"),
        model="expression",
        **whose,
    )
    await avatar.start(session, room=ctx.room)

    await session.start(Agent(instructions=""), room=ctx.room)

    async def read(reader: rtc.TextStreamReader) -> None:
        text = await reader.read_all()
        await session.interrupt()
        session.say(text, audio=spoken(text))

    tasks: set[asyncio.Task[None]] = set()

    def chat(reader: rtc.TextStreamReader, _: str) -> None:
        task = asyncio.create_task(read(reader))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    ctx.room.unregister_text_stream_handler("lk.chat")
    ctx.room.register_text_stream_handler("lk.chat", chat)
    session.say(GREETING, audio=spoken(GREETING))


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
