"""How late a busy machine wakes processes."""

from __future__ import annotations

import asyncio

BUSY_MS = 60
"""Where they are woken so late, each by itself, nothing can be said of media in time."""


class Lateness:
    """How much later than it should a process is woken: what a busy machine does to all of them."""

    def __init__(self) -> None:
        self.most_ms = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + 0.01
            await asyncio.sleep(0.01)
            self.most_ms = max(self.most_ms, 1e3 * (loop.time() - due_s))
