"""uvicorn's server with a listener that counts, and an end that clients are told of."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from ..config import ServerConfig
from ..descriptors import descriptor_limit
from ..protocol.limits import MAX_SOCKET_BYTES
from .connections import ConnectionLimits, Connections
from .ending_server import EndingServer
from .http_protocol import MAX_HEAD_BYTES, Gate, HttpProtocol
from .listener import BACKLOG, CountingListener, open_listener
from .pace import AddressPaces
from .paced_protocol import PacedProtocol

CLOSE_TIMEOUT_S = 5
ACCEPTED_AT_ONCE = 32
"""Connections that the event loop takes before others have their turn."""
SWEEP_S = 0.5


class DrainingServer(EndingServer):
    """Clients are told and given time before their sockets are closed.

    The application cannot do that itself: it hears of the end only after its sockets are closed.
    """

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.connections = connections
        self._sweeper: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; what is accepted from now on is counted."""
        sockets = sockets or [open_listener(self.config.host, self.config.port)]
        listeners = [CountingListener(each, self.connections) for each in sockets]
        await super().startup(listeners)  # pyright: ignore[reportArgumentType]
        for listener in listeners:
            listener.listen(BACKLOG)
        self._sweeper = asyncio.create_task(self._sweep(), name="sweep connections")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain the engine, then let uvicorn close what is left."""
        app = self.config.app
        assert isinstance(app, FastAPI), type(app)
        for server in self.servers:
            server.close()
        await self.unless_forced(app.state.engine.drain())
        await super().shutdown(sockets)
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            self.connections.sweep(loop.time())


def draining_server(
    app: FastAPI,
    config: ServerConfig,
    certificate: tuple[Path, Path] | None,
    limits: ConnectionLimits | None = None,
    **gate_options: Any,
) -> DrainingServer:
    """A server for an application, not started; `certificate` is the chain and its key.

    `gate_options` are further fields of its `Gate`.
    """
    limits = (limits or ConnectionLimits()).within(descriptor_limit())
    connections = Connections(limits, config.trusted_proxies)
    gate = Gate(
        connections=connections,
        paces=AddressPaces(),
        open_s=config.hello_timeout_s,
        **gate_options,
    )
    cert, key = map(str, certificate) if certificate else (None, None)
    http: Any = partial(HttpProtocol, gate=gate)
    return DrainingServer(
        uvicorn.Config(
            app,
            host=config.host,
            port=config.port,
            loop="asyncio",
            http=http,
            ws=PacedProtocol,
            ws_per_message_deflate=False,
            ws_max_size=MAX_SOCKET_BYTES,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
            backlog=ACCEPTED_AT_ONCE,
            proxy_headers=bool(config.trusted_proxies),
            forwarded_allow_ips=list(config.trusted_proxies),
            log_config=None,
            server_header=False,
            ssl_certfile=cert,
            ssl_keyfile=key,
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
        ),
        connections,
    )
