"""Opening a stream where all places may be taken: the client waits in line and keeps its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic

from .address import Address
from .channel import Channel
from .errors import Disconnected, Refused
from .messages import Queued, SessionClose, SessionCreate, SessionReady

KEPT_S = 10.0
"""For how long a turn is tried to be taken up again; the server keeps it a little longer."""
RETRY_S = 0.5

Tell = Callable[[Queued], None]


async def open_stream(
    address: Address, request: SessionCreate, *, wait: bool, tell: Tell | None
) -> tuple[Channel, SessionReady]:
    """Connect and open a stream, with as many connections as it takes to keep one's turn.

    `tell` is told how it stands. Raises what `Channel.open` does, and Refused with the code
    "capacity" where all places are taken and one is not to `wait`.
    """
    turn: Queued | None = None
    lost_s: float | None = None

    def note(queued: Queued) -> None:
        nonlocal turn, lost_s
        if not wait:
            raise Refused(
                "capacity",
                f"all places are taken; {queued.position - 1} wait already",
                hint="Come again later, or wait.",
                retry_after_s=queued.eta_s,
            )
        turn, lost_s = queued, None
        if tell is not None:
            tell(queued)

    while True:
        try:
            return await _open_once(address, request, note)
        except (Disconnected, OSError):
            if turn is None:
                raise
            lost_s = monotonic() if lost_s is None else lost_s
            if monotonic() - lost_s > KEPT_S:
                raise
            request = replace(request, ticket=turn.ticket)
            await asyncio.sleep(RETRY_S)


async def _open_once(
    address: Address, request: SessionCreate, note: Tell
) -> tuple[Channel, SessionReady]:
    channel = await Channel.open(address)
    try:
        return channel, await channel.start(request, note)
    except Disconnected:
        await channel.close()
        raise
    except BaseException:
        # given up: who waits behind has not to wait for this one to come back
        with suppress(Disconnected):
            await channel.send(SessionClose())
        await channel.close()
        raise
