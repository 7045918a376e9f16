"""All avatars of one worker, each in its room, by name; at most so many at once."""

from __future__ import annotations

import asyncio
import logging
from secrets import token_urlsafe

from .avatar import Avatar, CannotAppear, Ears, Rollcast
from .invitation import Invitation

READY_WITHIN_S = 20.0

log = logging.getLogger(__name__)


class Full(CannotAppear):
    """There are as many avatars as this worker may have."""


class Avatars:
    """Brings avatars to rooms and sends them away."""

    def __init__(self, rollcast: Rollcast, most: int, *, alone_s: float = 10.0) -> None:
        self._rollcast = rollcast
        self._most = most
        self._alone_s = alone_s
        self._there: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._there)

    async def bring(
        self, invitation: Invitation, ears: Ears | None = None, name: str | None = None
    ) -> str:
        """Return its name when the avatar is seen in the room. Raises CannotAppear, or Full."""
        if len(self._there) >= self._most:
            raise Full(f"{self._most} avatars are in rooms already; start another worker")
        name = name or token_urlsafe(12)
        avatar = Avatar(invitation, self._rollcast, ears, alone_s=self._alone_s)
        task = asyncio.create_task(self._run(avatar))
        self._there[name] = task
        task.add_done_callback(lambda _: self._there.pop(name, None))
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await asyncio.shield(avatar.ready)
        except TimeoutError as error:
            await self.send_away(name)
            raise CannotAppear(f"the room was not joined in {READY_WITHIN_S:.0f} s") from error
        except asyncio.CancelledError:
            await self.send_away(name)
            raise
        return name

    async def send_away(self, name: str) -> None:
        """Let it leave; harmless for one that is gone."""
        task = self._there.get(name)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Send all of them away."""
        await asyncio.gather(*(self.send_away(name) for name in list(self._there)))

    async def _run(self, avatar: Avatar) -> None:
        try:
            await avatar.run()
        except CannotAppear as error:
            log.warning("room %r: %s", avatar.invitation.room, error)
        except Exception as error:
            log.warning("room %r: the avatar left: %r", avatar.invitation.room, error)
