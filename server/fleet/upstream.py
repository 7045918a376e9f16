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

GREET_S = 1.0
"""A replica answers a greeting in this time, or hangs, or its machine is very busy."""
GIVE_S = 10.0
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
    link = await greet(place, key, role=role, hello=hello, address=address, client=client)
    return link, await open_on(link, place, first)


async def greet(
    place: Placement,
    key: str,
    *,
    role: Role,
    hello: bytes,
    address: str,
    client: str,
    patience_s: float = ANSWER_S,
) -> Link:
    """A link to a replica that has answered `hello` in this time. Raises OSError, Refused."""
    lease = Lease(place.session, role, place.replica, place.epoch, time.time() + LEASE_S)
    headers = {
        LEASE: lease.token(key),
        FORWARDED_CLIENT: client,
        "x-forwarded-for": address,
    }
    url = place.url.replace("http", "ws", 1) + "/v1/stream"
    link = await connect(url, headers, MOST_BYTES, patience_s)
    try:
        async with asyncio.timeout(patience_s):
            link.say(hello)
            await _answer(link, "hello")
            return link
    except (TimeoutError, Closed) as error:
        link.let_go()
        raise OSError(f"{place.replica} does not answer: {error}") from error
    except BaseException:
        link.let_go()
        raise


async def open_on(link: Link, place: Placement, first: bytes) -> bytes:
    """What a replica answers that was greeted. Raises OSError, Refused."""
    try:
        async with asyncio.timeout(ANSWER_S):
            link.say(first)
            return await _answer(link, "session.ready", "session.watching")
    except (TimeoutError, Closed) as error:
        link.let_go()
        raise OSError(f"{place.replica} does not open a stream: {error}") from error
    except BaseException:
        link.let_go()
        raise


async def give_and_greet(
    place: Placement,
    key: str,
    adoption: Adoption,
    *,
    hello: bytes,
    address: str,
    client: str,
    patience_s: float = GREET_S,
) -> Link:
    """Let a replica go on with a stream, and greet it meanwhile. Raises OSError, Refused.

    One that hangs takes connections as any other, and says nothing: it is given up when its
    greeting takes longer than `patience_s`.
    """
    giving = asyncio.create_task(give(place, key, adoption, GIVE_S))
    greeting = asyncio.create_task(
        greet(
            place,
            key,
            role="stream",
            hello=hello,
            address=address,
            client=client,
            patience_s=patience_s,
        )
    )
    try:
        await asyncio.wait((giving, greeting), return_when=asyncio.FIRST_EXCEPTION)
        if greeting.done():
            greeting.result()
        await giving
        return await greeting
    except BaseException:
        giving.cancel()
        greeting.cancel()
        ended = await asyncio.gather(giving, greeting, return_exceptions=True)
        if isinstance(ended[1], Link):
            ended[1].let_go()
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
