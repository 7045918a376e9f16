"""What a session shows as packets for one connection, encoded away from the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from ..metrics import Metrics
from ..protocol.limits import AUDIO_RATE
from ..protocol.packets import Flags, Kind, Packet, encode_packet
from ..protocol.server_messages import VideoFormat
from ..session.media import AudioPiece, VideoFrame
from ..session.session import Session
from .encoder import Encoder, Encoders
from .scaler import Scaler
from .sound_encoder import open_sound_encoder


class PacketEncoder:
    """One encoder for one connection of a session; pieces in order, one packet for each."""

    def __init__(
        self,
        session: Session,
        encoders: Encoders,
        pool: ThreadPoolExecutor,
        metrics: Metrics,
        encoder: Encoder,
    ) -> None:
        self._session = session
        self._encoders = encoders
        self._pool = pool
        self._metrics = metrics
        self._encoder = encoder
        self._size = session.size
        self._scaler = Scaler(*session.size)
        rate = session.info.sample_rate or AUDIO_RATE  # what has no sound encodes none
        self._sound = open_sound_encoder(session.audio_codec or "pcm", rate)

    @classmethod
    async def open(
        cls, session: Session, encoders: Encoders, pool: ThreadPoolExecutor, metrics: Metrics
    ) -> Self:
        """With a new encoder, opened in `pool`. Raises FFmpegError when none opens."""
        encoder = await _opened(session, encoders, pool)
        return cls(session, encoders, pool, metrics, encoder)

    async def renewed(self) -> VideoFormat | None:
        """What to say before the next frame if its size is another one, with a new encoder."""
        if self._size == self._session.size:
            return None
        self._size = width, height = self._session.size
        self._encoder = await _opened(self._session, self._encoders, self._pool)
        self._scaler = Scaler(width, height)
        return VideoFormat(
            generation=self._session.next_generation(),
            codec=self._encoder.codec,
            codec_string=self._encoder.codec_string,
            width=width,
            height=height,
        )

    @property
    def codec_string(self) -> str:
        """What a browser's decoder is configured with."""
        return self._encoder.codec_string

    async def encode(self, piece: AudioPiece | VideoFrame) -> list[bytes]:
        """The packets of a piece, each as one binary message."""
        if isinstance(piece, AudioPiece):
            return [encode_packet(packet) for packet in await self._heard(piece)]
        packet = await self._picture(piece)
        self._metrics.frames_sent.inc()
        return [encode_packet(packet)]

    async def _picture(self, frame: VideoFrame) -> Packet:
        key, kbps = self._session.take_key_request(), self._session.target_kbps

        def work() -> tuple[bytes, bool]:
            with self._metrics.time("encode"):
                self._encoder.set_kbps(kbps)
                return self._encoder.encode(self._scaler.scaled(frame.rgb), frame.pts_us, key=key)

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

    async def _heard(self, piece: AudioPiece) -> list[Packet]:
        loop = asyncio.get_running_loop()
        coded = await loop.run_in_executor(self._pool, self._sound.encode, piece)
        return [
            Packet(
                Kind.AUDIO_OUT,
                Flags.DISCONTINUITY if each.discontinuity else Flags.NONE,
                self._session.take_audio_seq(),
                each.pts_us,
                piece.chunk,
                self._session.generation,
                piece.server_ms,
                each.payload,
            )
            for each in coded
        ]


async def _opened(session: Session, encoders: Encoders, pool: ThreadPoolExecutor) -> Encoder:
    width, height = session.size
    return await asyncio.get_running_loop().run_in_executor(
        pool,
        encoders.open,
        session.codec,
        width,
        height,
        session.info.fps,
        session.target_kbps,
    )
