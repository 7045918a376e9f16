"""What a session shows as packets for one connection, encoded away from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Protocol, Self

from ...models.contract import ModelInfo
from ..logs import logger
from ..metrics import Metrics
from ..protocol.errors import EngineFailed
from ..protocol.fields import AudioCodec, Codec
from ..protocol.packets import Flags, Kind, Packet, encode_packet
from ..protocol.server_messages import VideoFormat
from ..session.media import AudioPiece, VideoFrame
from .encoder import Encoder, Encoders
from .scaler import Scaler
from .sound_encoder import open_sound_encoder
from .workers import Workers

WORKS_FRAMES = 50
"""An encoder that made so many frames was no failure, whatever it does later."""
RETRY_S = 5.0

Piece = AudioPiece | VideoFrame


class Shown(Protocol):
    """What pictures and sound are encoded for: a session's connection, or all who watch one."""

    codec: Codec
    encoder: str | None
    """What makes the packets."""

    @property
    def info(self) -> ModelInfo:
        """The model."""
        ...

    @property
    def audio_codec(self) -> AudioCodec | None:
        """How sound is sent; None: it is not."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        ...

    @property
    def target_kbps(self) -> int:
        """The bitrate to aim for."""
        ...

    @property
    def generation(self) -> int:
        """Of the packets."""
        ...

    def begin_generation(self) -> int:
        """What follows comes from another encoder; its number."""
        ...

    def take_key_request(self) -> bool:
        """Whether the frame that is about to be encoded has to be a key frame."""
        ...

    def take_audio_seq(self) -> int:
        """The seq of the audio packet that is about to be sent."""
        ...


class PacketEncoder:
    """One encoder for one connection of a session, or for all who watch one; pieces in order.

    Pictures of another size want a new one, and one that fails or hangs gives way to the next of
    `codecs`: of both the client must be told.
    """

    def __init__(
        self,
        shown: Shown,
        codecs: Sequence[Codec],
        encoders: Encoders,
        workers: Workers,
        metrics: Metrics,
    ) -> None:
        self._shown = shown
        self._left = list(codecs)
        self._encoders = encoders
        self._workers = workers
        self._metrics = metrics
        self._encoder: Encoder | None = None
        self._given_up: set[str] = set()
        self._frames = 0
        self._size = shown.size
        self._scaler = Scaler(*shown.size)
        self._sound = open_sound_encoder(shown.audio_codec or "pcm")
        self._log = logger("rollcast.encoder")

    @classmethod
    async def open(
        cls,
        shown: Shown,
        codecs: Sequence[Codec],
        encoders: Encoders,
        workers: Workers,
        metrics: Metrics,
    ) -> Self:
        """With a new encoder of the first codec that opens. Raises EngineFailed when none does."""
        new = cls(shown, codecs, encoders, workers, metrics)
        await new._open_next()
        return new

    @property
    def codec_string(self) -> str:
        """What a browser's decoder is configured with."""
        assert self._encoder is not None, "open comes first"
        return self._encoder.codec_string

    async def encode(self, piece: Piece) -> list[bytes] | VideoFormat:
        """The packets of a piece, each as one binary message.

        Or what the client has to be told before this piece is encoded once more, by another
        encoder. Raises EngineFailed when no codec of the client is left.
        """
        if isinstance(piece, AudioPiece):
            return [encode_packet(packet) for packet in await self._heard(piece)]
        if self._size != self._shown.size:
            self._size = self._shown.size
            self._scaler = Scaler(*self._size)
            return await self._renewed(None)
        try:
            packet = await self._picture(piece)
        except Exception as error:
            return await self._renewed(self._failed(error))
        self._metrics.frames_sent.inc()
        return [encode_packet(packet)]

    async def _renewed(self, why: str | None) -> VideoFormat:
        await self._open_next()
        width, height = self._size
        return VideoFormat(
            generation=self._shown.begin_generation(),
            codec=self._shown.codec,
            codec_string=self.codec_string,
            width=width,
            height=height,
            message=why,
        )

    async def _open_next(self) -> None:
        """Open an encoder for pictures of this size, of the first codec that is left and works."""
        width, height = self._size
        while self._left:
            work = partial(
                self._encoders.open,
                self._left[0],
                width,
                height,
                self._shown.info.fps,
                self._shown.target_kbps,
                without=frozenset(self._given_up),
                now_s=asyncio.get_running_loop().time(),
            )
            try:
                self._encoder, self._frames = await self._workers.run(work), 0
            except Exception as error:
                self._failed(error)
            else:
                self._shown.codec = self._left[0]
                self._shown.encoder = self._encoder.name
                return
        raise EngineFailed("no video encoder works for this client", retry_after_s=RETRY_S)

    def _failed(self, error: Exception) -> str:
        """Let go of this encoder, and of the codec if it has no other; why, in words for anyone."""
        now_s, encoder, codec = asyncio.get_running_loop().time(), self._encoder, self._left[0]
        self._encoder = None
        if encoder is not None:
            self._encoders.failures.failed(encoder.name, now_s)
            self._given_up.add(encoder.name)
        if encoder is None or not self._encoders.others(encoder, self._given_up):
            del self._left[0]
            self._encoders.failures.failed(codec, now_s)
        self._metrics.encoder_failures.labels(codec).inc()
        name = None if encoder is None else encoder.name
        reason = f"{type(error).__name__}: {error}"
        self._log.error("an encoder failed", codec=codec, encoder=name, reason=reason)
        return f"the encoder of {codec} failed"

    async def _picture(self, frame: VideoFrame) -> Packet:
        key, kbps = self._shown.take_key_request(), self._shown.target_kbps
        encoder, scaler, metrics = self._encoder, self._scaler, self._metrics
        assert encoder is not None, "open comes first"

        def work() -> tuple[bytes, bool]:
            with metrics.time("encode"):
                encoder.set_kbps(kbps)
                return encoder.encode(scaler.scaled(frame.picture), frame.pts_us, key=key)

        payload, is_key = await self._workers.run(work)
        self._frames += 1
        if self._frames == WORKS_FRAMES:
            self._encoders.failures.worked(self._left[0])
            self._encoders.failures.worked(encoder.name)
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
            self._shown.generation,
            frame.server_ms,
            payload,
        )

    async def _heard(self, piece: AudioPiece) -> list[Packet]:
        coded = await self._workers.run(partial(self._sound.encode, piece))
        return [
            Packet(
                Kind.AUDIO_OUT,
                Flags.DISCONTINUITY if each.discontinuity else Flags.NONE,
                self._shown.take_audio_seq(),
                each.pts_us,
                piece.chunk,
                self._shown.generation,
                piece.server_ms,
                each.payload,
            )
            for each in coded
        ]
