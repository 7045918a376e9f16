"""A WebRTC peer, shown a stream as a WebSocket is: words by its data channel, media by RTP.

What a WebSocket's client does itself the server does for a peer: it says what is on the screen, by
what has left; it keeps an interrupted sentence silent; it asks for key frames when RTCP does. One
who opens no data channel, as players that speak WHEP only, has its first messages said for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.websockets import WebSocketDisconnect

from ..engine.stall_watch import StallWatch
from ..metrics import Metrics
from ..protocol.client_messages import (
    Ack,
    AudioClear,
    ClientHello,
    ClientMessage,
    KeyRequest,
)
from ..protocol.errors import RateLimited, StreamError, Timeout
from ..protocol.fields import Codec
from ..protocol.limits import MAX_KBPS
from ..protocol.messages import encode_message
from ..protocol.packets import Kind, Packet, parse_packet
from ..protocol.server_messages import (
    Applied,
    MediaClock,
    Rejected,
    ServerMessage,
    SessionReady,
    SessionWatching,
)
from ..session.arrivals import Arrival, LinkReport, LiveSound
from ..webrtc.link_rate import LinkRate
from ..webrtc.pacer import Pacer, Released
from .inbox import Inbox
from .stream_socket import refuse

if TYPE_CHECKING:
    import av

    from ..webrtc.peer import Peer

MOST_UNREAD = 1024
"""Messages that may wait to be read; a data channel cannot be read more slowly."""
MOST_SOUND = 50
MOST_UNSENT_BYTES = 1 << 20
KEY_EVERY_S = 0.3
GOODBYE_S = 1.0
LOOK_AGAIN_S = 0.02
SILENCE = b"\xf8\xff\xfe"
"""20 ms of it, as an Opus packet."""

Waiting = ClientMessage | Arrival | str | bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent the offer, by the headers of the request."""

    address: str
    origin: str | None = None
    host: str | None = None
    token: str | None = None


class PeerSocket:
    """See the module. `opening` is what is said for one without a data channel."""

    kind = "webrtc"

    def __init__(
        self,
        caller: Caller,
        codec: Codec,
        opening: Sequence[ClientMessage],
        metrics: Metrics,
        stalls: StallWatch,
        send_timeout_s: float,
    ) -> None:
        self.peer: Peer | None = None
        """Set before anything comes."""
        self.session_id = ""
        """Of its stream, once that is open."""
        self._caller = caller
        self._codec: Codec = codec
        self._opening = opening
        self._metrics = metrics
        self._stalls = stalls
        self._send_timeout_s = send_timeout_s
        now_s = self._now_s()
        self._inbox = Inbox(now_s)
        self._inbox.forgive(stalls.stalled_s(now_s), now_s)
        self._waiting: deque[Waiting] = deque()
        self._came = asyncio.Event()
        self._gone = False
        self._overrun = False
        self._opened = False
        self._rate = LinkRate(MAX_KBPS)
        self._key_s = float("-inf")
        self._pacer: Pacer | None = None
        self._pushed = asyncio.Event()
        self._release: asyncio.Task[None] | None = None
        self._clearing: set[str] = set()
        self._silent_until_us = 0.0
        self._told_shift_us: float | None = None

    # What it is.

    @property
    def address(self) -> str:
        """See `StreamSocket`."""
        return self._caller.address

    @property
    def origin(self) -> str | None:
        """See `StreamSocket`."""
        return self._caller.origin

    @property
    def host(self) -> str | None:
        """See `StreamSocket`."""
        return self._caller.host

    def greeted(self) -> None:
        """See `StreamSocket`."""
        self._inbox.greeted = True

    def in_line(self) -> None:
        """See `StreamSocket`; a peer is served as long as it is there."""

    def stream_opened(self) -> None:
        """See `StreamSocket`."""
        self._opened = True

    # What the peer says.

    def connected(self) -> None:
        """See `PeerEvents`; now, and no sooner, a stream begins."""
        self._waiting.extend(self._opening)
        self._opening = ()
        self._came.set()

    def lost(self) -> None:
        """See `PeerEvents`."""
        self._gone = True
        self._came.set()

    def told(self, message: str | bytes) -> None:
        """See `PeerEvents`."""
        self._arrive(message)

    def heard(self, sound: LiveSound) -> None:
        """See `PeerEvents`."""
        if self._opened and len(self._waiting) < MOST_SOUND:
            self._arrive(sound)

    def seen(self, frame: av.VideoFrame) -> None:
        """See `PeerEvents`; a viewer sends none."""

    def wants_key(self) -> None:
        """See `PeerEvents`."""
        now_s = self._now_s()
        if now_s - self._key_s >= KEY_EVERY_S:
            self._key_s = now_s
            self._arrive(KeyRequest())

    def reported(self, lost_share: float | None, kbps: float | None) -> None:
        """See `PeerEvents`."""
        now_s = self._now_s()
        if lost_share is not None:
            self._rate.lost(lost_share, now_s)
        if kbps is not None:
            self._rate.estimated(kbps, now_s)
        self._arrive(LinkReport(self._rate.kbps))

    # What the connection does.

    async def receive(self) -> ClientMessage | Packet | Arrival:
        """See `StreamSocket`."""
        while True:
            while not self._waiting:
                if self._gone:
                    raise WebSocketDisconnect(1006)
                self._came.clear()
                await self._came.wait()
            if self._overrun:
                raise RateLimited("messages come faster than they can be read", fatal=True)
            message = self._read(self._waiting.popleft())
            if message is not None:
                return message

    async def say(self, message: ServerMessage) -> None:
        """See `StreamSocket`."""
        match message:
            case SessionReady() | SessionWatching():
                self.session_id = message.session_id
                self._begin(message.fps)
            case Applied() if message.event_id in self._clearing:
                self._clearing.discard(message.event_id)
                self._silent_until_us = message.pts_us
            case Rejected() if message.event_id in self._clearing:
                self._clearing.discard(message.event_id)
                self._silent_until_us = 0.0
            case _:
                pass
        await self._room(MOST_UNSENT_BYTES)
        if self.peer is not None:
            self.peer.say(encode_message(message))

    def send_now(self, packets: Sequence[bytes]) -> bool:
        """See `StreamSocket`; never, for a pacer takes them."""
        return False

    async def send(self, data: bytes) -> None:
        """See `StreamSocket`; the packet leaves when it is due."""
        if self._gone:
            raise WebSocketDisconnect(1006)
        if self._pacer is not None:
            self._pacer.push(parse_packet(data))
            self._pushed.set()

    async def refuse(self, error: StreamError) -> None:
        """See `StreamSocket`."""
        await refuse(self, error, self._metrics)

    async def close(self, code: int, reason: str = "") -> None:
        """See `StreamSocket`; what was said before is sent first."""
        await self.hold()
        if self.peer is None:
            return
        if not self._gone:
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    while self.peer.unsent_bytes and not self._gone:
                        await asyncio.sleep(LOOK_AGAIN_S)
                    await asyncio.sleep(LOOK_AGAIN_S)  # the last of it is on its way
        self._gone = True
        await self.peer.close()

    async def hold(self) -> None:
        """Let nothing leave any more; whoever serves the peer calls it at the end."""
        release, self._release = self._release, None
        if release is not None:
            release.cancel()
            await asyncio.gather(release, return_exceptions=True)

    # Private.

    def _arrive(self, item: Waiting) -> None:
        self._overrun |= len(self._waiting) >= MOST_UNREAD
        if not self._overrun:
            self._waiting.append(item)
        self._came.set()

    def _read(self, item: Waiting) -> ClientMessage | Packet | Arrival | None:
        """What came, parsed; None for what is not for the session. Raises StreamError."""
        if not isinstance(item, str | bytes):
            return self._known(item) if isinstance(item, ClientHello) else item
        now_s = self._now_s()
        self._inbox.forgive(self._stalls.stalled_s(now_s), now_s)
        message: ClientMessage | Packet
        try:
            with self._metrics.time("receive"):
                if isinstance(item, str):
                    message = self._inbox.text(item, now_s)
                else:
                    message = self._inbox.binary(item, now_s)
        except StreamError as error:
            raise self._inbox.mistake(error, now_s) from None
        kind = "media" if isinstance(message, Packet) else message.type
        self._metrics.messages.labels(kind).inc()
        match message:
            case Ack():
                return None  # what has left counts, which is known here
            case AudioClear():
                self._clearing.add(message.event_id)
                self._silent_until_us = float("inf")
            case ClientHello():
                return self._known(message)
            case _:
                pass
        return message

    def _known(self, hello: ClientHello) -> ClientHello:
        """With what the offer and its request have settled."""
        token = self._caller.token or hello.token
        update = {"codecs": [self._codec], "audio_codecs": ["opus"], "token": token}
        return hello.model_copy(update=update)

    def _begin(self, fps: int) -> None:
        if self._pacer is None:
            self._pacer = Pacer(1e6 / fps)
            self._release = asyncio.create_task(self._pace(self._pacer), name="peer-pace")
            self._release.add_done_callback(lambda _: self.lost())

    async def _pace(self, pacer: Pacer) -> None:
        """Let packets leave when they are due."""
        while True:
            now_s = self._now_s()
            while (released := pacer.pop(now_s)) is not None:
                self._leave(released, now_s)
            next_s = pacer.next_s()
            self._pushed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if next_s is None else max(0.0, next_s - now_s)):
                    await self._pushed.wait()

    def _leave(self, released: Released, now_s: float) -> None:
        packet, wire_us = released.packet, released.wire_us
        assert self.peer is not None, "it was set before anything came"
        self._rate.sent(len(packet.payload), now_s)
        if packet.kind is not Kind.VIDEO:
            silent = packet.pts_us < self._silent_until_us
            self.peer.sound(SILENCE if silent else packet.payload, wire_us)
            return
        self.peer.show(packet.payload, wire_us)
        timestamp = self.peer.rtp_timestamp(wire_us)
        shift_us = wire_us - packet.pts_us
        if timestamp is not None and shift_us != self._told_shift_us:
            self._told_shift_us = shift_us
            clock = MediaClock(rtp_timestamp=timestamp, pts_us=packet.pts_us)
            self.peer.say(encode_message(clock))
        self._arrive(Ack(playhead_us=max(0.0, packet.pts_us), last_seq=packet.seq))

    async def _room(self, most_bytes: int) -> None:
        """Wait until fewer bytes wait to be taken. Raises Timeout."""
        try:
            async with asyncio.timeout(self._send_timeout_s):
                while self.peer is not None and self.peer.unsent_bytes > most_bytes:
                    await asyncio.sleep(LOOK_AGAIN_S)
        except TimeoutError as stalled:
            self._gone = True
            raise Timeout(f"the client read nothing for {self._send_timeout_s:g} s") from stalled

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
