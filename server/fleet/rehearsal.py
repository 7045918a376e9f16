"""A replica that has just started shows itself a stream, and takes it over from itself.

Whatever is done for the first time takes a multiple: modules, encoders, memory. A replica that has
done it all once takes over the streams of one that was lost in half the time, and those who watch
them wait for nothing else.
"""

from __future__ import annotations

import asyncio
import secrets

import msgspec

from ..handover.records import KIND, Snapshot, unpack_record
from ..logs import logger
from ..protocol.packets import HEADER, Kind
from .ledger import Placement
from .link import CLOSING_S, Link
from .relay import Relay
from .upstream import Refused, give_and_greet, open_on, open_upstream, resume_text

LONGEST_S = 20.0
MOST_CHUNKS = 10
"""Without a snapshot, so long until the stream is taken over from its beginning."""
_HELLO = msgspec.json.encode(
    {"type": "hello", "versions": [1], "codecs": ["h264", "vp8", "jpeg"], "client": "rehearsal"}
)
_CLIENT = "rehearsal"


async def rehearse(name: str, url: str, key: str) -> bool:
    """Show a stream at this address and take it over; whether that went well, which is logged."""
    try:
        async with asyncio.timeout(LONGEST_S):
            await _rehearse(Placement(secrets.token_urlsafe(12), name, url, 0), key)
    except (OSError, TimeoutError, ValueError, Refused) as error:
        # it serves all the same: of a model that wants a picture to begin with, say
        logger("rollcast.fleet").info("no rehearsal", reason=str(error) or type(error).__name__)
        return False
    return True


async def _rehearse(place: Placement, key: str) -> None:
    link, answered = await open_upstream(
        place,
        key,
        role="stream",
        hello=_HELLO,
        first=msgspec.json.encode({"type": "session.create"}),
        address="127.0.0.1",
        client=_CLIENT,
    )
    try:
        relay = Relay.opened(answered, epoch=0, replica=place.replica, now_s=0.0)
        saved, most = False, MOST_CHUNKS * relay.ready.chunk_frames
        while not relay.journal.usable or not (saved or relay.last_seq >= most):
            saved |= isinstance(await _next_record(link, relay), Snapshot)
    except BaseException:
        _end(link)
        raise
    link.let_go()
    there = Placement(place.session, place.replica, place.url, 1)
    relay.begin_move()
    link = await give_and_greet(
        there,
        key,
        relay.adoption(there.epoch, client=_CLIENT),
        hello=_HELLO,
        address="127.0.0.1",
        client=_CLIENT,
    )
    try:
        again = resume_text(place.session, relay.ready.resume_token, relay.last_seq)
        answered = await open_on(link, there, again)
        relay.moved(answered, epoch=there.epoch, replica=there.replica, now_s=0.0)
        until = relay.last_seq + relay.ready.chunk_frames
        while relay.last_seq < until:
            await _next_record(link, relay)
    finally:
        _end(link)


def _end(link: Link) -> None:
    """Nothing stays of its stream."""
    link.say(msgspec.json.encode({"type": "session.close"}))
    link.close(1000)
    link.let_go_soon(CLOSING_S)


async def _next_record(link: Link, relay: Relay) -> object:
    """Take the next message, and show what is a frame at once; its record, if it is one."""
    data, is_text = await link.receive()
    relay.from_replica(data, is_text=is_text, now_s=0.0)
    kind = None if is_text else data[1]
    if kind == Kind.VIDEO:
        _, _, _, seq, pts_us, _, _, _ = HEADER.unpack_from(data)
        link.say(msgspec.json.encode({"type": "ack", "playhead_us": pts_us, "last_seq": seq}))
    return unpack_record(data) if kind == KIND else None
