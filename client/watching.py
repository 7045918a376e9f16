"""`watch`: a stream that somebody shares, from Python: its pictures and its sound."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .address import Address, watch_token
from .channel import Channel
from .messages import AudioCodec, Codec, SessionWatch, SessionWatching
from .playhead import Pace
from .receiver import Receiver
from .shown import Decode
from .viewing import Viewing

ACK_EVERY_S = 0.2
PATIENCE_S = 30.0


@asynccontextmanager
async def watch(
    url: str,
    *,
    codecs: tuple[Codec, ...] = ("h264", "vp8", "jpeg"),
    audio_codec: AudioCodec = "pcm",
    audio: bool = True,
    decode: Decode = True,
    pace: Pace = "clock",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Watched]:
    """Watch the stream of a share link, as `Stream.share` and the page give it.

    It begins where the stream is, so media time does not start at 0. `pace`, `decode`, `tls` and
    the codecs are those of `connect`.

    Raises Refused with the server's code, reason and hint; OSError when no server is there;
    ValueError for what is no share link.
    """
    token = watch_token(url)
    if token is None:
        raise ValueError(f"a share link ends with #watch=TOKEN, got {url!r}")
    address = Address(url, token, tls, codecs, audio, audio_codec)
    channel = await Channel.open(address)
    try:
        ready = await channel.watch(SessionWatch())
    except BaseException:
        await channel.close()
        raise
    watched = Watched(address, channel, ready, pace, decode=decode)
    watched.viewers = ready.viewers
    watched.start()
    try:
        yield watched
    finally:
        await watched.close()


class Watched(Viewing[SessionWatching]):
    """A stream that others steer: iterate it for `Frame` and `Audio` until it raises Refused.

    That has the code `ended` when it is over, or its link was withdrawn.
    """

    async def _open_again(self, channel: Channel) -> None:
        self.ready = await channel.watch(SessionWatch())
        # it may come from another encoder, which counts its packets anew
        last_seq = self._receiver.last_seq
        self._receiver = Receiver(self.ready, self._decode)
        self._receiver.last_seq = last_seq

    @property
    def _patience_s(self) -> float:
        return PATIENCE_S

    @property
    def _ack_every_s(self) -> float:
        return ACK_EVERY_S

    @property
    def _ack_at_most_every_s(self) -> float:
        return ACK_EVERY_S
