"""Servers and gateways of one fleet in the test's event loop, on 127.0.0.1 and without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rollcast.models.contract import Model
from rollcast.models.test_pattern import TestPattern
from rollcast.server.config import ServerConfig
from rollcast.server.fleet.directory import LocalDirectory
from rollcast.server.fleet.gateway import Gateway
from rollcast.server.fleet.gateway_app import build_gateway
from rollcast.server.secret import Secret

from ..running import WAIT_S, RunningServer, running, until

KEY = "a key that all of the fleet have"


@dataclass
class RunningGateway:
    """A gateway that accepts connections."""

    gateway: Gateway
    directory: LocalDirectory
    port: int

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/stream"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Fleet:
    """Replicas by name, and gateways."""

    replicas: dict[str, RunningServer] = field(default_factory=dict)
    gateways: list[RunningGateway] = field(default_factory=list)

    @property
    def gateway(self) -> RunningGateway:
        return self.gateways[0]

    def of(self, session: str) -> str:
        """The replica that has a stream."""
        held = [name for name, each in self.replicas.items() if each.engine.streams.get(session)]
        assert len(held) == 1, held
        return held[0]

    def kill(self, name: str) -> None:
        """Its connections break, and it takes no new ones: as if its process were gone."""
        server, loop = self.replicas.pop(name).server, asyncio.get_running_loop()
        for listener in server.servers:
            for sock in listener.sockets:
                loop.remove_reader(sock)

        def end() -> None:
            for listener in server.servers:
                listener.close()
            break_off()

        def break_off() -> None:
            for each in list(server.server_state.connections):
                each.transport.abort()  # type: ignore[union-attr]

        break_off()
        # What was just accepted gets its transport first: of a listener that is closed it would be
        # left open, unseen by anybody.
        loop.call_later(0.01, end)


@asynccontextmanager
async def gateway_at(
    fleet: Fleet, key: str = KEY, others: Sequence[str] = (), **settings: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway before all replicas of a fleet."""
    config = ServerConfig(port=0, fleet_key=Secret(key), models=("test-pattern",), **settings)
    directory = LocalDirectory(key, look_every_s=0.05, gateways=others)
    gateway = Gateway(config, directory, most_wait_s=5.0)
    server = build_gateway(gateway)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started or task.done())
    port = server.servers[0].sockets[0].getsockname()[1]
    running_gateway = RunningGateway(gateway, directory, port)
    for name, each in fleet.replicas.items():
        directory.add(name, each.http)
    try:
        await until(lambda: directory.ledger.total_free(directory.now_s()) > 0)
        yield running_gateway
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, WAIT_S)
        await directory.close()


@asynccontextmanager
async def neighbours(
    count: int = 2,
    load: Callable[[], Sequence[Model]] = lambda: [TestPattern()],
    *,
    gateways: int = 1,
    public: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Fleet]:
    """So many replicas, each with a test pattern, and gateways before them."""
    fleet = Fleet()
    async with AsyncExitStack() as stack:
        for name in (f"replica-{number}" for number in range(count)):
            fleet.replicas[name] = await stack.enter_async_context(
                running(
                    load,
                    fleet_key=Secret(KEY),
                    name=name,
                    trusted_proxies=("127.0.0.1",),
                    max_waiting=0,
                    **settings,
                )
            )
        for _ in range(gateways):
            others = [each.http for each in fleet.gateways]
            fleet.gateways.append(
                await stack.enter_async_context(gateway_at(fleet, others=others, **(public or {})))
            )
        yield fleet
