"""The way from a gateway to a replica: a stream is opened, resumed, watched, or given to it."""

from __future__ import annotations

import asyncio
import time

import msgspec

from ..handover.lease import LEASE_S, Lease, Role
from ..handover.records import Adoption, pack_adoption
from ..web.client_socket import FORWARDED_CLIENT, LEASE
from .directory import authorization
from .http_call import NoAnswer, call
from .ledger import Placement
from .link import Closed, Link, connect
from .relay import head_of

ANSWER_S = 5.0
"""A replica opens a stream in this time, or is given up."""
MOST_BYTES = 1 << 30
"""Of one message of a replica: snapshots."""


class Refused(Exception):
    """A replica answered with an error, which is for the client; `fatal` as it says."""

    def __init__(self, text: bytes, code: str, fatal: bool) -> None:
        super().__init__(code)
        self.text = text
        self.code = code
        self.fatal = fatal


async def open_upstream(
    place: Placement,
    key: str,
    *,
    role: Role,
    hello: bytes,
    first: bytes,
    address: str,
    client: str,
) -> tuple[Link, bytes]:
    """A link to a replica, and its answer to `first`, the message behind `hello`.

    Raises OSError when it is not there, Refused with what it said instead.
    """
    lease = Lease(place.session, role, place.replica, place.epoch, time.time() + LEASE_S)
    headers = {
        LEASE: lease.token(key),
        FORWARDED_CLIENT: client,
        "x-forwarded-for": address,
    }
    url = place.url.replace("http", "ws", 1) + "/v1/stream"
    link = await connect(url, headers, MOST_BYTES)
    try:
        async with asyncio.timeout(ANSWER_S):
            link.say(hello)
            await _answer(link, "hello")
            link.say(first)
            return link, await _answer(link, "session.ready", "session.watching")
    except (TimeoutError, Closed) as error:
        link.let_go()
        raise OSError(f"{place.replica} does not open a stream: {error}") from error
    except BaseException:
        link.let_go()
        raise


async def give(place: Placement, key: str, adoption: Adoption, timeout_s: float) -> None:
    """Let a replica go on with a stream. Raises NoAnswer, also when it will not."""
    answer = await call(
        "POST",
        f"{place.url}/fleet/adopt",
        body=pack_adoption(adoption),
        headers=authorization(key, place.replica, place.session, place.epoch),
        timeout_s=timeout_s,
    )
    if answer.status != 204:
        raise NoAnswer(f"{place.replica} does not go on: {answer.status} {answer.body[:200]!r}")


async def let_go(place: Placement, key: str, timeout_s: float) -> None:
    """Let a replica give a stream away. Raises NoAnswer, also when it will not."""
    answer = await call(
        "POST",
        f"{place.url}/fleet/release/{place.session}",
        headers=authorization(key, place.replica, place.session, place.epoch),
        timeout_s=timeout_s,
    )
    if answer.status != 204:
        raise NoAnswer(f"{place.replica} keeps the stream: {answer.status} {answer.body[:200]!r}")


def resume_text(session: str, resume_token: str, last_seq: int) -> bytes:
    """The message by which a stream is gone on with."""
    return msgspec.json.encode(
        {
            "type": "session.resume",
            "session_id": session,
            "resume_token": resume_token,
            "last_seq": last_seq,
        }
    )


async def _answer(link: Link, *kinds: str) -> bytes:
    """The first message of these types; what comes before it is for nobody."""
    while True:
        data, is_text = await link.receive()
        head = head_of(data) if is_text else None
        if head is not None and head.type in kinds:
            return data
        if head is not None and head.type == "error":
            raise Refused(data, head.code or "", head.fatal)
