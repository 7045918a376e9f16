"""What a session shows as packets for one connection, encoded away from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Self

from ..logs import logger
from ..metrics import Metrics
from ..protocol.errors import EngineFailed
from ..protocol.fields import Codec
from ..protocol.packets import Flags, Kind, Packet, encode_packet
from ..protocol.server_messages import CodecChanged
from ..session.media import AudioPiece, VideoFrame
from ..session.session import Session
from .encoder import Encoder, Encoders
from .workers import Workers

WORKS_FRAMES = 50
"""An encoder that made so many frames was no failure, whatever it does later."""
RETRY_S = 5.0

Piece = AudioPiece | VideoFrame


class PacketEncoder:
    """One encoder for one connection of a session; pieces in order, one packet for each.

    One that fails or hangs gives way to the next of `codecs`, of which the client must be told.
    """

    def __init__(
        self,
        session: Session,
        codecs: Sequence[Codec],
        encoders: Encoders,
        workers: Workers,
        metrics: Metrics,
    ) -> None:
        self._session = session
        self._left = list(codecs)
        self._encoders = encoders
        self._workers = workers
        self._metrics = metrics
        self._encoder: Encoder | None = None
        self._frames = 0
        self._log = logger("rollcast.encoder")

    @classmethod
    async def open(
        cls,
        session: Session,
        codecs: Sequence[Codec],
        encoders: Encoders,
        workers: Workers,
        metrics: Metrics,
    ) -> Self:
        """With a new encoder of the first codec that opens. Raises EngineFailed when none does."""
        new = cls(session, codecs, encoders, workers, metrics)
        await new._open_next()
        return new

    @property
    def codec(self) -> Codec:
        """What it encodes with now."""
        return self._left[0]

    @property
    def codec_string(self) -> str:
        """What a browser's decoder is configured with."""
        assert self._encoder is not None, "open comes first"
        return self._encoder.codec_string

    async def encode(self, piece: Piece) -> bytes | CodecChanged:
        """The packet of a piece, as one binary message.

        Or what the client has to be told before this piece is encoded once more, by another codec.
        Raises EngineFailed when no codec of the client is left.
        """
        if isinstance(piece, AudioPiece):
            return encode_packet(self._sound(piece))
        try:
            packet = await self._picture(piece)
        except Exception as error:
            why = self._failed(error)
        else:
            self._metrics.frames_sent.inc()
            return encode_packet(packet)
        await self._open_next()
        generation = self._session.begin_generation()
        return CodecChanged(
            codec=self.codec, codec_string=self.codec_string, generation=generation, message=why
        )

    async def _open_next(self) -> None:
        info = self._session.info
        while self._left:
            work = partial(
                self._encoders.open,
                self.codec,
                info.width,
                info.height,
                info.fps,
                self._session.target_kbps,
            )
            try:
                self._encoder, self._frames = await self._workers.run(work), 0
                return
            except Exception as error:
                self._failed(error)
        raise EngineFailed("no video encoder works for this client", retry_after_s=RETRY_S)

    def _failed(self, error: Exception) -> str:
        """Let go of this codec; why, in words for anyone."""
        codec = self._left.pop(0)
        self._encoder = None
        self._encoders.failures.failed(codec, asyncio.get_running_loop().time())
        self._metrics.encoder_failures.labels(codec).inc()
        self._log.error("an encoder failed", codec=codec, reason=f"{type(error).__name__}: {error}")
        return f"the encoder of {codec} failed"

    async def _picture(self, frame: VideoFrame) -> Packet:
        key, kbps = self._session.take_key_request(), self._session.target_kbps
        encoder, metrics = self._encoder, self._metrics
        assert encoder is not None, "open comes first"

        def work() -> tuple[bytes, bool]:
            with metrics.time("encode"):
                encoder.set_kbps(kbps)
                return encoder.encode(frame.rgb, frame.pts_us, key=key)

        payload, is_key = await self._workers.run(work)
        self._frames += 1
        if self._frames == WORKS_FRAMES:
            self._encoders.failures.worked(self.codec)
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
