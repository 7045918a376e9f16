"""What a session shows as packets for one connection, encoded away from the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from ..metrics import Metrics
from ..protocol.fields import Codec
from ..protocol.packets import Flags, Kind, Packet, encode_packet
from ..session.media import AudioPiece, VideoFrame
from ..session.session import Session
from .encoder import Encoder, Encoders


class PacketEncoder:
    """One encoder for one connection of a session; pieces in order, one packet for each."""

    def __init__(
        self, session: Session, encoder: Encoder, pool: ThreadPoolExecutor, metrics: Metrics
    ) -> None:
        self._session = session
        self._encoder = encoder
        self._pool = pool
        self._metrics = metrics

    @classmethod
    async def open(
        cls,
        session: Session,
        codec: Codec,
        encoders: Encoders,
        pool: ThreadPoolExecutor,
        metrics: Metrics,
    ) -> Self:
        """With a new encoder, opened in `pool`. Raises FFmpegError when none opens."""
        info = session.info
        encoder = await asyncio.get_running_loop().run_in_executor(
            pool,
            encoders.open,
            codec,
            info.width,
            info.height,
            info.fps,
            session.target_kbps,
        )
        return cls(session, encoder, pool, metrics)

    @property
    def codec_string(self) -> str:
        """What a browser's decoder is configured with."""
        return self._encoder.codec_string

    async def encode(self, piece: AudioPiece | VideoFrame) -> bytes:
        """The packet of a piece, as one binary message."""
        if isinstance(piece, AudioPiece):
            return encode_packet(self._sound(piece))
        packet = await self._picture(piece)
        self._metrics.frames_sent.inc()
        return encode_packet(packet)

    async def _picture(self, frame: VideoFrame) -> Packet:
        key, kbps = self._session.take_key_request(), self._session.target_kbps

        def work() -> tuple[bytes, bool]:
            with self._metrics.time("encode"):
                self._encoder.set_kbps(kbps)
                return self._encoder.encode(frame.rgb, frame.pts_us, key=key)

        payload, is_key = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        flags = Flags.KEY if is_key else Flags.NONE
        if frame.discontinuity:
            flags |= Flags.DISCONTINUITY
        if frame.last_of_chunk:
            flags |= Flags.LAST_OF_CHUNK
        return Packet(
            Kind.VIDEO,
            flags,
            frame.seq,
            frame.pts_us,
            frame.chunk,
            self._session.generation,
            frame.server_ms,
            payload,
        )

    def _sound(self, piece: AudioPiece) -> Packet:
        return Packet(
            Kind.AUDIO_OUT,
            Flags.DISCONTINUITY if piece.discontinuity else Flags.NONE,
            self._session.take_audio_seq(),
            piece.pts_us,
            piece.chunk,
            self._session.generation,
            piece.server_ms,
            piece.samples.astype("<i2").tobytes(),
        )
