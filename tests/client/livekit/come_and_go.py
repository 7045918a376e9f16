"""Avatars that come to rooms, speak and leave, a few at a time; what the process then still holds.

    python -m tests.client.livekit.come_and_go COUNT

The server and the rooms are another process. The report is JSON on the last line: what was held
after each fifth of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import numpy as np

from rollcast.client.livekit.avatar import Rollcast
from rollcast.client.livekit.avatars import Avatars
from rollcast.client.livekit.invitation import Invitation
from rollcast.client.livekit.voice import Voice
from tests.client.held import held
from tests.client.livekit.room_server import serving
from tests.client.livekit.scene import room_token
from tests.server.running import running

AT_ONCE, FIFTHS = 4, 5
RATE = 24_000


class Words:
    """A short sentence as soon as the avatar is there."""

    agent = None

    def __init__(self) -> None:
        self.spoken: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def attach(self, voice: Voice) -> None:
        utterance = voice.begin(RATE)
        utterance.write((9_000 * np.sin(np.arange(RATE // 5) / 9)).astype(np.int16))
        utterance.end()

    async def turned(self) -> None: ...

    async def started(self) -> None: ...

    async def finished(self, position_s: float, interrupted: bool) -> None:
        self.spoken.set_result(position_s)

    async def close(self) -> None: ...


async def visits(server: str, rooms: str, count: int) -> None:
    """The avatars of this process; prints what is held."""
    avatars = Avatars(Rollcast(server), AT_ONCE)

    async def one_after_the_other(numbers: Iterator[int]) -> None:
        for number in numbers:
            words = Words()
            invitation = Invitation(rooms, room_token(f"room-{number}"), f"room-{number}")
            name = await avatars.bring(invitation, words)
            assert await asyncio.wait_for(words.spoken, 60) > 0.1
            await avatars.send_away(name)

    reports = []
    for _ in range(FIFTHS):
        numbers = iter(range(count // FIFTHS))
        await asyncio.gather(*(one_after_the_other(numbers) for _ in range(AT_ONCE)))
        reports.append(await held())
    print(json.dumps(reports))


async def main(count: str) -> None:
    async with running(max_sessions=20) as server, serving() as rooms:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.client.livekit.come_and_go", server.http, rooms.url),
            count,
        )
        code = await process.wait()
        assert not len(server.engine.streams)
    sys.exit(code)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        asyncio.run(main(sys.argv[1]))
    else:
        asyncio.run(visits(sys.argv[1], sys.argv[2], int(sys.argv[3])))
