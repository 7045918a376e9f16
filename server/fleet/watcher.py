"""One who watches by a share link, through the gateway: wherever the stream goes, it follows."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

import msgspec

from ..logs import logger
from ..protocol.errors import UnknownSession
from ..protocol.packets import Kind
from .carrier import Caller
from .ledger import Placement
from .link import CLOSE_GONE, CLOSING_S, Link
from .upstream import Refused, open_upstream

FOLLOW_S = 30.0
RETRY_S = 0.2
_LOST = frozenset((1001, 1005, CLOSE_GONE, 1011, 1012, 4410, 4490, 4503))
"""4410 too: a stream that was given away has ended where it was."""
_GENERATION, _AT_GENERATION = struct.Struct("<I"), 20
_VIDEO = int(Kind.VIDEO)


class Watcher:
    """Passes on what a replica shows; `where` says which one has the stream now."""

    def __init__(
        self,
        session: str,
        caller: Caller,
        first: bytes,
        key: str,
        where: Callable[[str], Awaitable[Placement | None]],
        left: Callable[[Watcher], None],
    ) -> None:
        self._session = session
        self._caller = caller
        self._first = first
        self._key = key
        self._where = where
        self._left = left
        self._client: Link | None = None
        self._upstream: Link | None = None
        self._follower: asyncio.Task[None] | None = None
        self._generations = 0
        """Added to those of the present replica, so that they grow."""
        self._newest = 0
        self._over = False

    async def start(self, client: Link) -> None:
        """Watch. Raises UnknownSession, OSError, Refused."""
        place = await self._where(self._session)
        if place is None:
            raise UnknownSession(
                "there is no such stream", hint="Ask who shared it for another link.", fatal=True
            )
        upstream, answer = await self._open(place)
        self._client = client
        client.say(answer)
        client.hand_to(self._from_client, self._client_lost)
        self._hear(upstream)

    def end(self, code: int, reason: str) -> None:
        """End it."""
        if self._client is not None:
            self._client.close(code, reason)
        self._finish()

    async def _open(self, place: Placement) -> tuple[Link, bytes]:
        return await open_upstream(
            place,
            self._key,
            role="watch",
            hello=self._caller.hello,
            first=self._first,
            address=self._caller.address,
            client=self._caller.client,
        )

    def _hear(self, upstream: Link) -> None:
        self._upstream = upstream

        def lost(code: int, reason: str) -> None:
            if self._upstream is upstream:
                self._upstream = None
                self._replica_lost(code, reason)

        upstream.hand_to(self._from_replica, lost)

    def _from_client(self, data: bytes, is_text: bool) -> None:
        if self._upstream is not None:
            self._upstream.send(data, is_text=is_text)

    def _from_replica(self, data: bytes, is_text: bool) -> None:
        if self._client is None:
            return
        if not is_text and len(data) > 32 and data[1] == _VIDEO:
            (generation,) = _GENERATION.unpack_from(data, _AT_GENERATION)
            self._newest = max(self._newest, generation + self._generations)
            if self._generations:
                patched = bytearray(data)
                _GENERATION.pack_into(patched, _AT_GENERATION, generation + self._generations)
                data = bytes(patched)
        if is_text and b'"type":"error"' in data and b'"fatal":true' in data:
            # it may have gone elsewhere: the close says
            self._last_error = data
            self._client.flush()
            return
        more = self._upstream is not None and self._upstream.more
        self._client.send(data, is_text=is_text, more=more)

    _last_error: bytes | None = None

    def _client_lost(self, code: int, reason: str) -> None:
        self._finish()

    def _replica_lost(self, code: int, reason: str) -> None:
        if self._over:
            return
        if self._client is not None:
            self._client.flush()
        if code in _LOST and self._follower is None:
            self._follower = asyncio.create_task(self._follow(code, reason), name="follow")
        elif code not in _LOST:
            self._say_end(code, reason)

    def _say_end(self, code: int, reason: str) -> None:
        if self._client is not None:
            if self._last_error is not None:
                self._client.say(self._last_error)
            self._client.close(code, reason)
        self._finish()

    async def _follow(self, code: int, reason: str) -> None:
        """Find the stream again; it ends with the word of the replica that had it last."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + (FOLLOW_S if code != 4410 else 3.0)
        while loop.time() < until_s:
            await asyncio.sleep(RETRY_S)
            place = await self._where(self._session)
            if place is None:
                continue
            try:
                upstream, answer = await self._open(place)
            except (OSError, Refused) as error:
                logger("rollcast.fleet").debug("not there to watch", reason=str(error))
                continue
            self._go_on(upstream, answer)
            return
        self._follower = None
        self._say_end(code if code >= 4000 else 4410, reason or "ended")

    def _go_on(self, upstream: Link, answer: bytes) -> None:
        self._follower = None
        self._generations = self._newest + 1
        watching = msgspec.json.decode(answer)
        told = ("codec", "codec_string", "width", "height")
        format_ = {
            "type": "video.format",
            "generation": watching["generation"] + self._generations,
            **{name: watching[name] for name in told},
        }
        if self._client is not None:
            self._client.say(msgspec.json.encode(format_))
        self._hear(upstream)

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        if self._follower is not None:
            self._follower.cancel()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.let_go()
        if self._client is not None:
            self._client.let_go_soon(CLOSING_S)
        self._left(self)
