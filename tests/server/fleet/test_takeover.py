"""A server that is given a stream loses no time with it."""

from __future__ import annotations

import asyncio
import json

import pytest

from rollcast.server.engine import driver, engine
from rollcast.server.fleet.ledger import Placement
from rollcast.server.fleet.relay import Relay
from rollcast.server.fleet.upstream import open_upstream
from rollcast.server.protocol.packets import HEADER, Kind

from ..running import until
from .neighbours import KEY, neighbours

HELLO = b'{"type":"hello","versions":[1],"codecs":["jpeg"],"client":"test"}'


async def test_the_next_chunk_is_begun_before_its_viewer_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And before the engine looks for itself, which it does ten times a second."""
    async with neighbours(1, gateways=0) as fleet:
        ((name, replica),) = fleet.replicas.items()
        relay = await _left_stream(Placement("s", name, replica.http, 0))
        for module in (driver, engine):
            monkeypatch.setattr(module, "TICK_S", 3600.0)
        replica.engine.wake()
        await asyncio.sleep(0.01)
        relay.begin_move()
        stream = replica.engine.adopt(relay.adoption(1))
        made = stream.session.chunks
        await until(lambda: stream.session.chunks > made)
        assert stream.viewer is None and not stream.session.attached


async def _left_stream(place: Placement) -> Relay:
    """A stream whose viewer has shown all that came, and whose connection is lost."""
    link, answered = await open_upstream(
        place,
        KEY,
        role="stream",
        hello=HELLO,
        first=b'{"type":"session.create"}',
        address="127.0.0.1",
        client="test",
    )
    relay = Relay.opened(answered, epoch=0, replica=place.replica, now_s=0.0)
    while not relay.journal.usable or relay.last_seq < relay.ready.chunk_frames - 1:
        data, is_text = await link.receive()
        relay.from_replica(data, is_text=is_text, now_s=0.0)
        if not is_text and data[1] == Kind.VIDEO:
            _, _, _, seq, _, _, _, _ = HEADER.unpack_from(data)
            shown_us = (seq + 1) * 1e6 / relay.ready.fps
            ack = {"type": "ack", "playhead_us": shown_us, "last_seq": seq}
            relay.from_client(json.dumps(ack).encode(), is_text=True)
    link.let_go()
    return relay
