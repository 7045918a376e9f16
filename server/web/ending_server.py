"""uvicorn's server, but the second Ctrl+C ends it at once, and neither shows a traceback."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn

AT_ONCE_S = 1.0
"""How long the application may take to let go of its processes when nobody waits any more."""
_LOOK_EVERY_S = 0.05


class EndingServer(uvicorn.Server):
    """Ends in order when it is told to, at once when Ctrl+C is pressed again."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal. Whoever presses Ctrl+C for the third time waits for nothing."""
        if not self.should_exit:
            super().handle_exit(sig, frame)
        elif sig == signal.SIGINT and self.force_exit:
            os._exit(128 + sig)
        elif sig == signal.SIGINT:
            # uvicorn would raise it once more at the end, out of the middle of the event loop
            self.force_exit = True

    async def unless_forced(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for the work, unless the end has to come at once."""
        task = asyncio.create_task(work)
        while not task.done() and not self.force_exit:
            await asyncio.wait([task], timeout=_LOOK_EVERY_S)
        if task.done():
            task.result()
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is open, and end the application also when it is forced to."""
        await super().shutdown(sockets)
        if self.force_exit:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.lifespan.shutdown(), AT_ONCE_S)
