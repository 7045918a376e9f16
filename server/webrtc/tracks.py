"""Tracks of packets that are encoded already: the library packetises them and encodes nothing."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

ONE_US = Fraction(1, 1_000_000)


class PacketTrack(MediaStreamTrack):
    """H.264 access units in Annex B, VP8 frames or Opus packets, each with its wire time."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._packets: asyncio.Queue[av.Packet | None] = asyncio.Queue()

    def put(self, payload: bytes, wire_us: float) -> None:
        """Send this next."""
        packet = av.Packet(payload)
        packet.pts, packet.time_base = round(wire_us), ONE_US
        self._packets.put_nowait(packet)

    async def recv(self) -> av.Packet:
        """For the library. Raises MediaStreamError once the track was stopped."""
        packet = await self._packets.get()
        if packet is None or self.readyState != "live":
            raise MediaStreamError
        return packet

    def stop(self) -> None:
        """Send nothing any more."""
        super().stop()
        self._packets.put_nowait(None)
