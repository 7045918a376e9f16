"""Media passed on to who watches a room, packet by packet and as it was encoded."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender
from aiortc.mediastreams import MediaStreamError

RATES = {"video": 90_000, "audio": 48_000}
TICKS = 1 << 32


class Forwarded(MediaStreamTrack):
    """What one participant sends, for one who watches: aiortc sends encoded packets as they are."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._packets: asyncio.Queue[av.Packet | None] = asyncio.Queue()
        self._first: int | None = None

    def put(self, data: bytes, timestamp: int) -> None:
        """A whole picture or packet of sound, at this RTP time."""
        if self._first is None:
            self._first = timestamp
        packet = av.Packet(data)
        packet.pts = (timestamp - self._first) % TICKS
        packet.time_base = Fraction(1, RATES[self.kind])
        self._packets.put_nowait(packet)

    async def recv(self) -> Any:
        """The next one. Raises MediaStreamError at the end."""
        packet = await self._packets.get()
        if packet is None:
            raise MediaStreamError
        return packet

    def stop(self) -> None:
        super().stop()
        self._packets.put_nowait(None)


def send(connection: RTCPeerConnection, track: Forwarded, owner: str, sid: str) -> RTCRtpSender:
    """Send a track to who is at the other end, named as LiveKit's SDKs look for it; offer then."""
    transceiver = connection.addTransceiver(track, direction="sendonly")
    sender = transceiver.sender
    names = vars(sender)
    names["_stream_id"], names["_track_id"] = f"{owner}|{sid}", sid
    if track.kind == "video":
        codecs = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([each for each in codecs if each.name == "H264"])
    return sender
