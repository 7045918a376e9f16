"""How long the server itself was away: what waited meanwhile is not the fault of who sent it."""

from __future__ import annotations

import asyncio

LOOK_S = 0.1
LATE_S = 0.2
"""By so much a look may be late on a busy machine without anything having waited long."""


class StallWatch:
    """Looks at the clock again and again, and notes when it could not."""

    def __init__(self) -> None:
        self.stalled_s = 0.0
        """For how long the event loop was away, in all."""

    async def watch(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            late_s = loop.time() - due_s
            if late_s > LATE_S:
                self.stalled_s += late_s
