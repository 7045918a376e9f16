"""One avatar in one room: from the invitation to its leaving, with all that lives meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from livekit import rtc

from ..connection import Stream, connect
from ..errors import ClientError
from ..talker import Talker
from .data_stream import DataStreamEars
from .invitation import Invitation
from .playout import Playout
from .room_tracks import MAX_KBPS, RoomTracks
from .voice import Listener, Voice

AUDIO_RATE = 24_000
"""What speech is sent and heard at: what most voices give."""
LEAD_CHUNKS = 1.2
"""The worker stands beside the server, and what waits on the way is delay."""
LEAVE_S = 5.0

log = logging.getLogger(__name__)


class CannotAppear(Exception):
    """The avatar could not come: no room, no server, or none that speaks; the text says which."""


@dataclass(frozen=True, slots=True)
class Rollcast:
    """The server whose avatars appear."""

    url: str
    token: str | None = None
    model: str | None = None


class Ears(Listener, Protocol):
    """Where an avatar's speech comes from, and who is told how it goes."""

    @property
    def agent(self) -> str | None:
        """Without whom in the room the avatar leaves; None: it stays until it is told to."""
        ...

    def attach(self, voice: Voice) -> None: ...

    async def close(self) -> None: ...


class Avatar:
    """Appears in a room when `run` and leaves with it; `ready` when it is seen.

    It hears `ears`; without any, the agent in its room. It leaves when the room ends, when nobody
    has spoken for it `alone_s` after the agent left, and when it is cancelled.
    """

    def __init__(
        self,
        invitation: Invitation,
        rollcast: Rollcast,
        ears: Ears | None = None,
        *,
        alone_s: float = 10.0,
    ) -> None:
        self.invitation = invitation
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tracks: RoomTracks | None = None
        self._rollcast = rollcast
        self._ears = ears
        self._alone_s = alone_s
        self._left = asyncio.Event()

    async def run(self) -> None:
        """Appear, stay, and leave. Raises CannotAppear, or what ended the stream."""
        try:
            async with AsyncExitStack() as stack:
                await self._appear(stack)
        except BaseException as error:
            if not self.ready.done():
                self.ready.set_exception(_reason(error))
                self.ready.exception()  # who does not ask is not warned
            raise

    async def _appear(self, stack: AsyncExitStack) -> None:
        stream = await stack.enter_async_context(self._open_stream())
        if stream.ready.sample_rate is None:
            raise CannotAppear(f"{stream.ready.model} does not speak; name another --model")
        room = rtc.Room()
        room.on("disconnected", lambda *_: self._left.set())
        try:
            await room.connect(
                self.invitation.url, self.invitation.token, rtc.RoomOptions(auto_subscribe=False)
            )
        except rtc.ConnectError as error:
            raise CannotAppear(f"cannot join the room: {error}") from error
        # a process that ends before this is done is aborted by the SDK
        stack.push_async_callback(_leave, room)
        ears = self._ears or DataStreamEars(room)
        stack.push_async_callback(ears.close)
        self.tracks = RoomTracks(stream)
        stack.push_async_callback(self.tracks.close)
        playout, talker = Playout(stream, self.tracks), Talker(stream)
        voice = Voice(talker, playout, ears)
        ears.attach(voice)
        await self.tracks.publish(room)
        self.ready.set_result(None)
        log.info("in room %r as %r", room.name, room.local_participant.identity)
        await _first_ends(
            playout.run(),
            talker.run(),
            voice.run(),
            self.tracks.obey(),
            self._until_alone(room, ears),
        )

    def _open_stream(self) -> contextlib.AbstractAsyncContextManager[Stream]:
        return connect(
            self._rollcast.url,
            token=self._rollcast.token,
            model=self._rollcast.model,
            scene=self.invitation.scene,
            picture=self.invitation.picture,
            audio_rate=AUDIO_RATE,
            codecs=("h264",),
            decode="encoded",
            pace="reader",
            max_kbps=MAX_KBPS,
            lead_chunks=LEAD_CHUNKS,
        )

    async def _until_alone(self, room: rtc.Room, ears: Ears) -> None:
        """Return when the room has ended, or its agent left and did not come back."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._alone_s / 2):
                    await self._left.wait()
                    return
            if _is_alone(room, ears) and await self._stays_alone(room, ears):
                log.info("left room %r: its agent is gone", room.name)
                return

    async def _stays_alone(self, room: rtc.Room, ears: Ears) -> bool:
        await asyncio.sleep(self._alone_s / 2)
        return _is_alone(room, ears)


def _is_alone(room: rtc.Room, ears: Ears) -> bool:
    if ears.agent is None:
        return not room.remote_participants
    return ears.agent not in room.remote_participants


async def _leave(room: rtc.Room) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            await room.disconnect()


async def _first_ends(*runs: Coroutine[Any, Any, None]) -> None:
    """Run all of them until one ends, end the others, and raise what it raised."""
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _reason(error: BaseException) -> CannotAppear:
    if isinstance(error, CannotAppear):
        return error
    if isinstance(error, ClientError):
        return CannotAppear(f"the Rollcast server refuses: {error}")
    if isinstance(error, OSError):
        return CannotAppear("the Rollcast server cannot be reached; is it up, and is --server it?")
    if isinstance(error, asyncio.CancelledError):
        return CannotAppear("it was sent away")
    return CannotAppear(f"it failed: {error!r}")
