"""The actor that is a replica: a server of ours inside a process that Ray has placed.

Nothing of it is on the way of media but the server, which gateways talk to directly.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...models.pipeline.heap import return_large_blocks, return_unused
from ..config import ServerConfig
from ..descriptors import raise_descriptor_limit
from ..logs import configure_logs
from ..secret import Secret

if TYPE_CHECKING:
    from ..engine.engine import Engine

START_S = 120.0
STOP_S = 15.0
_SECRETS = ("token", "fleet_key")
_FOLDERS = ("record_dir", "recordings_dir")


class Replica:
    """A server on a port of this node; `settings` are those of its `ServerConfig`, secrets as text.

    Made by Ray as an actor with a name, which is that of the replica.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        plain = {**settings}
        for name in _SECRETS:
            if plain.get(name) is not None:
                plain[name] = Secret(plain[name])
        for name in _FOLDERS:
            if plain.get(name) is not None:
                plain[name] = Path(plain[name]).expanduser()
        self._plain = plain
        self._server: Any = None
        self._task: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._loaded = asyncio.Event()
        self._failure = ""
        self._url = ""

    async def start(self) -> str:
        """Load the models and serve; the address, once a port listens. Models may still load."""
        import ray.util

        from ..web.app import build_hosts, build_server
        from ..web.listener import open_listener

        if self._task is not None:
            return self._url
        self._loop = asyncio.get_running_loop()
        host = ray.util.get_node_ip_address()
        listener = open_listener(host, 0)
        port = listener.getsockname()[1]
        config = ServerConfig(**{**self._plain, "host": host, "port": port})
        configure_logs(config.log_format, config.log_level)
        return_large_blocks()
        raise_descriptor_limit()
        self._server = build_server(
            config, build_hosts(config), on_ready=self._can_begin, on_failed=self._failed
        )
        engine: Engine = self._server.config.app.state.engine
        engine.rehearses = True
        self._warming = asyncio.create_task(self._warm_up(engine, config), name="warm-up")
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="server")
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.02)
        self._url = f"http://{host}:{port}"
        return self._url

    async def url(self) -> str:
        """Where it listens; empty before `start`."""
        return self._url

    async def failure(self) -> str:
        """Why its models could not be loaded, or its server ended; empty while all is well."""
        if self._task is not None and self._task.done():
            return self._failure or "the server has ended"
        return self._failure

    async def stop(self) -> None:
        """End the server and its models, in order."""
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.wait([self._task], timeout=STOP_S)

    def _can_begin(self) -> None:
        """The models are loaded; called from another thread."""
        self._loop.call_soon_threadsafe(self._loaded.set)

    async def _warm_up(self, engine: Engine, config: ServerConfig) -> None:
        """Do all once before the first streams come, and clear up behind it."""
        from .rehearsal import rehearse

        await self._loaded.wait()
        # a stream that is written down is somebody's
        if config.fleet_key is not None and not (config.record_dir or config.recordings_dir):
            url = f"http://{config.host}:{config.port}"
            await rehearse(config.name, url, config.fleet_key.reveal())
        return_unused()
        engine.rehearses = False

    def _failed(self, reason: str) -> None:
        self._failure = reason
