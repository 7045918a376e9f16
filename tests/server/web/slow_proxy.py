"""A TCP proxy in the test's event loop: so many bytes per second, so much delay, or cut off."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SlowProxy:
    """Forwards to 127.0.0.1:`target`; downstream is limited and its buffers are small."""

    def __init__(self, target: int, bytes_per_s: float, delay_s: float) -> None:
        self._target = target
        self.bytes_per_s = bytes_per_s
        self._delay_s = delay_s
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.stalled = False
        self.port = 0

    def cut(self) -> None:
        """Break every connection at once, as a lost network does."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def handle(self, down: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        up, forth = await asyncio.open_connection("127.0.0.1", self._target)
        up_socket = forth.get_extra_info("socket")
        up_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self._writers += [back, forth]
        for coroutine in (self._copy(down, forth, False), self._copy(up, back, True)):
            task = asyncio.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, limited: bool
    ) -> None:
        """Read, hold each piece for the delay, and write it at the permitted pace."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        loop = asyncio.get_running_loop()

        async def read() -> None:
            while data := await source.read(2048):
                await held.put((loop.time() + self._delay_s, data))
            await held.put((0.0, b""))

        reader = asyncio.create_task(read())
        self._tasks.add(reader)
        reader.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError):
            while True:
                due_s, data = await held.get()
                if not data:
                    break
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                while limited and self.stalled:
                    await asyncio.sleep(0.02)
                if limited:
                    await asyncio.sleep(len(data) / self.bytes_per_s)
                sink.write(data)
                await sink.drain()
        sink.close()

    async def stop(self) -> None:
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def slow_proxy(
    target: int, bytes_per_s: float = 1e9, delay_s: float = 0.0
) -> AsyncIterator[SlowProxy]:
    """A proxy on a free port."""
    proxy = SlowProxy(target, bytes_per_s, delay_s)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0, limit=4096)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
