"""A server that takes a stream over from itself, as a replica does when it has just started."""

from __future__ import annotations

import pytest

from rollcast.server.fleet.directory import LocalDirectory
from rollcast.server.fleet.rehearsal import rehearse

from ..running import until
from .neighbours import KEY, neighbours

pytestmark = pytest.mark.slow


async def test_a_rehearsal_moves_a_stream_and_leaves_nothing() -> None:
    async with neighbours(1, gateways=0) as fleet:
        ((name, replica),) = fleet.replicas.items()
        assert await rehearse(name, replica.http, KEY)
        await until(lambda: not len(replica.engine.streams))
        assert replica.engine.metrics.sessions_resumed._value.get() == 1
        assert not await rehearse(name, replica.http, "another key"), "it is said, not raised"


async def test_a_replica_that_rehearses_is_given_nothing() -> None:
    async with neighbours(1, gateways=0) as fleet:
        ((name, replica),) = fleet.replicas.items()
        directory = LocalDirectory(KEY)
        directory.ledger.add(name, replica.http)
        for rehearses in (True, False):
            replica.engine.rehearses = rehearses
            assert await directory.look(name)
            assert (directory.replicas[name].condition == "ready") is not rehearses
