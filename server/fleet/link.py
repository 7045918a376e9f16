"""A WebSocket of the gateway, to a client or to a replica, on picows: messages in, messages out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from ..protocol.limits import MAX_SOCKET_BYTES
from ..web.frame_head import frame_head

CLOSE_GONE, CLOSE_NOTHING = 1006, 1005
CLOSING_S = 1.0
"""In which the peer answers a close."""
_MOST_FRAGMENTS = 4096
_MOST_WAITING = 256
"""Messages that wait for who reads them one by one."""
_MOST_UNSENT = 16 << 20
"""Bytes that the peer does not take: it is given up."""
CONNECT_S = 1.0
_MOST_HELD = 1 << 14
"""Bytes of one message that may wait for others which were read with it."""
_TEXT, _BINARY, _CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION

QUIET = logging.getLogger("rollcast.picows")
"""What picows says of each connection is nothing for an operator."""
QUIET.setLevel(logging.ERROR)

Receive = Callable[[bytes, bool], None]
"""A message, and whether it is text."""
Lost = Callable[[int, str], None]
"""A close code and its reason."""


class Closed(OSError):
    """The peer is gone."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code} {reason}")
        self.code = code
        self.reason = reason


class Link(WSListener):
    """Messages are read one by one with `receive`, until `hand_to` says who takes them at once."""

    def __init__(self, most_bytes: int = MAX_SOCKET_BYTES) -> None:
        self._most_bytes = most_bytes
        self._transport: WSTransport | None = None
        self._pieces: list[bytes] = []
        self._piece_type = WSMsgType.BINARY
        self._size = 0
        self._waiting: asyncio.Queue[tuple[bytes, bool] | None] = asyncio.Queue(_MOST_WAITING)
        self._receive: Receive | None = None
        self._lost: Lost | None = None
        self._held: list[bytes] = []
        """Frames that leave together."""
        self.more = False
        """Whether further messages of the peer were read together with the one at hand."""
        self.closed: Closed | None = None

    # For picows.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """It is open."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came."""
        kind = frame.msg_type
        if kind in (_BINARY, _TEXT):
            if frame.fin:
                self.more = not frame.last_in_buffer
                self._take(frame.get_payload_as_bytes(), kind == _TEXT)
            else:
                self._pieces, self._piece_type = [frame.get_payload_as_bytes()], kind
                self._size = frame.payload_size
        elif kind == _CONTINUATION:
            self._continue(frame)
        elif kind == WSMsgType.CLOSE:
            code = int(frame.get_close_code())  # pyright: ignore[reportArgumentType]
            self.closed = Closed(code or CLOSE_NOTHING, frame.get_close_reason() or "")
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code() if code else WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """It is over."""
        if self.closed is None:
            self.closed = Closed(CLOSE_GONE, "")
        lost, self._lost, self._receive = self._lost, None, None
        if lost is not None:
            lost(self.closed.code, self.closed.reason)
        elif not self._waiting.full():
            self._waiting.put_nowait(None)

    def pause_writing(self) -> None:
        """The peer takes nothing at the moment; what waits is bounded where it is sent."""

    def resume_writing(self) -> None:
        """It does again."""

    # For the gateway.

    async def receive(self) -> tuple[bytes, bool]:
        """The next message, and whether it is text. Raises Closed."""
        message = await self._waiting.get()
        if message is None:
            raise self.closed or Closed(CLOSE_GONE, "")
        return message

    def hand_to(self, receive: Receive, lost: Lost) -> None:
        """From now on messages go there, those that wait first, and so does the end."""
        self._receive, self._lost = receive, lost
        while not self._waiting.empty() and self._receive is not None:
            message = self._waiting.get_nowait()
            if message is not None:
                receive(*message)
        if self.closed is not None and self._lost is not None:
            self._lost = self._receive = None
            lost(self.closed.code, self.closed.reason)

    def let_go(self) -> None:
        """Nobody wants anything more of it: it ends at once."""
        self._receive = self._lost = None
        self.abort()

    def let_go_soon(self, after_s: float) -> None:
        """Nobody wants anything more of it; what it was sent still leaves."""
        self._receive = self._lost = None
        asyncio.get_running_loop().call_later(after_s, self.abort)

    def say(self, text: bytes) -> None:
        """Send a text."""
        self._send(_TEXT, text)

    def send(self, data: bytes, *, is_text: bool, more: bool = False) -> None:
        """Send a message; one behind which `more` come leaves with them, or with `flush`."""
        if (more or self._held) and len(data) <= _MOST_HELD:
            self._hold(data, is_text)
            if not more:
                self._let_leave()
        else:
            self._send(_TEXT if is_text else _BINARY, data)

    def flush(self) -> None:
        """No more come now."""
        if self._held:
            self._let_leave()

    def close(self, code: int, reason: str = "") -> None:
        """Close it in order."""
        self._let_leave()
        transport = self._transport
        if transport is not None and not transport.is_disconnected:
            transport.send_close(code, reason.encode()[:120])  # pyright: ignore[reportArgumentType]
            asyncio.get_running_loop().call_later(CLOSING_S, transport.disconnect)

    def abort(self) -> None:
        """End it at once."""
        transport = self._transport
        if transport is not None and not transport.is_disconnected:
            transport.disconnect(False)

    # Private.

    def _send(self, kind: WSMsgType, data: bytes) -> None:
        if self._held:
            self._let_leave()
        self._write(lambda transport: transport.send(kind, data))

    def _hold(self, data: bytes, is_text: bool) -> None:
        """Let a message leave with others: a system call for all of them."""
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        head = frame_head(len(data), is_text=is_text, masked=transport.is_client_side)
        self._held += (head, data)

    def _let_leave(self) -> None:
        held, self._held = self._held, []
        if held:
            self._write(lambda transport: transport.underlying_transport.write(b"".join(held)))

    def _write(self, write: Callable[[WSTransport], None]) -> None:
        transport = self._transport
        if transport is None or transport.is_disconnected or transport.is_close_frame_sent:
            return
        write(transport)
        if transport.underlying_transport.get_write_buffer_size() > _MOST_UNSENT:
            self.abort()

    def _take(self, data: bytes, is_text: bool) -> None:
        if self._receive is not None:
            self._receive(data, is_text)
        elif self._waiting.full():
            self.abort()
        else:
            self._waiting.put_nowait((data, is_text))

    def _continue(self, frame: WSFrame) -> None:
        self._pieces.append(frame.get_payload_as_bytes())
        self._size += frame.payload_size
        if self._size > self._most_bytes or len(self._pieces) > _MOST_FRAGMENTS:
            self.close(1009)
        elif frame.fin:
            pieces, self._pieces = self._pieces, []
            self._take(b"".join(pieces), self._piece_type == WSMsgType.TEXT)


async def connect(
    url: str, headers: dict[str, str], most_bytes: int, timeout_s: float = CONNECT_S
) -> Link:
    """A link to a replica. Raises OSError."""
    link = Link(most_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            await ws_connect(
                lambda: link,
                url,
                extra_headers=headers,
                max_frame_size=most_bytes,
                logger_name=QUIET,
            )
    except OSError:
        raise
    except Exception as error:
        # picows has errors of its own for a handshake that fails
        raise OSError(f"{url}: {error or type(error).__name__}") from error
    return link
