"""Packets to frames and speech: decoding in a thread, duplicates dropped, key frames asked for."""

from __future__ import annotations

import asyncio

from .messages import Codec, SessionReady, SessionWatching
from .shown import Audio, Decode, Frame
from .sound import SoundDecoder
from .video import VideoDecoder
from .wire import AUDIO_RATE, Flags, Kind, Packet

ASK_KEY_EVERY_S = 0.5


class Receiver:
    """Takes packets in order; after a resume it drops what it has given before."""

    def __init__(self, ready: SessionReady | SessionWatching, decode: Decode) -> None:
        self._decoder = VideoDecoder(ready.codec) if decode is True else None
        self._keeps = decode == "encoded"
        self._sound = SoundDecoder(ready.audio_codec or "pcm", ready.sample_rate or AUDIO_RATE)
        self._asked_key_s = float("-inf")
        self._last_audio_seq = -1
        self.last_seq = -1
        self.repeated = 0
        """Frames that came again, and were dropped."""

    def change_codec(self, codec: Codec) -> None:
        """The next packets are of another codec, beginning with a key frame."""
        if self._decoder is not None:
            self._decoder = VideoDecoder(codec)

    async def media(self, packet: Packet, now_s: float) -> Frame | Audio | None:
        """What the packet carries, or None when there is nothing new to show in it."""
        if packet.kind is Kind.AUDIO_OUT:
            return self._audio(packet)
        if packet.kind is not Kind.VIDEO:
            return None
        return await self._frame(packet, now_s)

    def should_ask_key(self, now_s: float) -> bool:
        """Whether the decoder waits for a key frame that was not asked for lately."""
        if self._decoder is None or not self._decoder.wants_key or self.last_seq < 0:
            return False
        if now_s - self._asked_key_s < ASK_KEY_EVERY_S:
            return False
        self._asked_key_s = now_s
        return True

    async def _frame(self, packet: Packet, now_s: float) -> Frame | None:
        pixels = None
        if self._decoder is not None:
            pixels = await asyncio.to_thread(self._decoder.decode, packet)
        if packet.seq <= self.last_seq:
            self.repeated += 1
            return None
        if pixels is None and self._decoder is not None:
            return None
        self.last_seq = packet.seq
        return Frame(
            seq=packet.seq,
            pts_us=packet.pts_us,
            chunk=packet.chunk,
            is_key=Flags.KEY in packet.flags,
            is_last_of_chunk=Flags.LAST_OF_CHUNK in packet.flags,
            is_discontinuous=Flags.DISCONTINUITY in packet.flags,
            server_ms=packet.server_ms,
            arrived_s=now_s,
            bytes=len(packet.payload),
            pixels=pixels,
            data=packet.payload if self._keeps else b"",
            generation=packet.generation,
        )

    def _audio(self, packet: Packet) -> Audio | None:
        if packet.seq <= self._last_audio_seq:
            return None
        self._last_audio_seq = packet.seq
        samples, pts_us = self._sound.decode(packet)
        return Audio(
            seq=packet.seq,
            pts_us=pts_us,
            chunk=packet.chunk,
            is_discontinuous=Flags.DISCONTINUITY in packet.flags,
            samples=samples,
            rate=self._sound.rate,
        )
