"""One RTCPeerConnection that answers an offer: what is sent, what comes, and how it ends.

Two names of the library that are none of its promises are used: the sender's handler of RTCP, to
hear of lost pictures and of the link, and its newest RTP timestamp, to tell media time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

import av
from aiortc import (
    RTCDataChannel,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)

from ..protocol.errors import InvalidField
from ..protocol.fields import Codec
from ..session.arrivals import LiveSound
from .ice import IceOptions, reached_at
from .offer import Offer
from .tracks import PacketTrack

VIDEO_CLOCK, SOUND_CLOCK = 90_000, 48_000
_MIME = {"h264": "video/H264", "vp8": "video/VP8"}


class PeerEvents(Protocol):
    """Who is told of what comes from a peer."""

    def connected(self) -> None:
        """Media can be sent."""
        ...

    def lost(self) -> None:
        """It is gone: by its own wish, or nothing is heard from it."""
        ...

    def told(self, message: str | bytes) -> None:
        """A message came by the data channel."""
        ...

    def heard(self, sound: LiveSound) -> None:
        """Its microphone."""
        ...

    def seen(self, frame: av.VideoFrame) -> None:
        """A frame of its video."""
        ...

    def wants_key(self) -> None:
        """It cannot go on without a key frame."""
        ...

    def reported(self, lost_share: float | None, kbps: float | None) -> None:
        """What it says of the way to it: the share of packets lost, the bitrate it could get."""
        ...


class Peer:
    """Answers one offer; everything after `close` is ignored."""

    def __init__(self, options: IceOptions, events: PeerEvents) -> None:
        self._options = options
        self._events = events
        self._connection = RTCPeerConnection(options.configuration())
        self._channel: RTCDataChannel | None = None
        self._video = PacketTrack("video")
        self._sound = PacketTrack("audio")
        self._sender: RTCRtpSender | None = None
        self._sent_us: float | None = None
        self._origin: int | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection.on("connectionstatechange", self._state_changed)
        self._connection.on("datachannel", self._opened)
        self._connection.on("track", self._track)

    async def answer_viewer(self, offer: Offer, codec: Codec) -> str:
        """The answer for one who wants to see, in this codec, to hear and perhaps to speak.

        Raises InvalidField for an offer that the library cannot answer.
        """
        pc = self._connection
        # before the offer is read, or its own order of codecs counts
        transceiver = pc.addTransceiver(self._video, direction="sendonly")
        transceiver.setCodecPreferences(_capabilities(codec))
        pc.addTransceiver(self._sound, direction="sendrecv")
        self._sender = transceiver.sender
        _observe(self._sender, self._rtcp)
        return await self._answer(offer)

    async def answer_publisher(self, offer: Offer, *, video: bool) -> str:
        """The answer for one who sends sound, and if it is wanted video. Raises InvalidField."""
        return await self._answer(offer, refused=() if video else ("video",))

    async def add_candidates(self, candidates: list[RTCIceCandidate]) -> None:
        """Further ways to the peer."""
        for each in candidates:
            await self._connection.addIceCandidate(each)

    @property
    def ice_user(self) -> str | None:
        """The user fragment of the offer."""
        said = self._connection.remoteDescription
        lines = said.sdp.splitlines() if said is not None else ()
        found = (line.partition(":")[2] for line in lines if line.startswith("a=ice-ufrag:"))
        return next(found, None)

    @property
    def unsent_bytes(self) -> int:
        """Of messages."""
        return 0 if self._channel is None else self._channel.bufferedAmount

    def say(self, text: str) -> None:
        """Send a message; one who opened no channel is told nothing."""
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(text)

    def show(self, payload: bytes, wire_us: float) -> None:
        """Send a picture now."""
        self._note_origin()
        self._video.put(payload, wire_us)
        self._sent_us = wire_us if self._sent_us is None else self._sent_us

    def sound(self, payload: bytes, wire_us: float) -> None:
        """Send 20 ms of sound now."""
        self._sound.put(payload, wire_us)

    def rtp_timestamp(self, wire_us: float) -> int | None:
        """Of the picture with this time on the wire; None before the first one has left."""
        if self._origin is None:
            return None
        return (self._origin + _ticks(wire_us)) & 0xFFFFFFFF

    async def close(self) -> None:
        """Let go of it."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._video.stop()
        self._sound.stop()
        # what was answered by half has transports that were never made
        with suppress(AttributeError):
            await self._connection.close()
        self._connection.remove_all_listeners()

    async def _answer(self, offer: Offer, refused: tuple[str, ...] = ()) -> str:
        pc = self._connection
        try:
            with reached_at(self._options.addresses):
                await pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
                for each in pc.getTransceivers():
                    if each.kind in refused:
                        each.direction = "inactive"
                await pc.setLocalDescription(await pc.createAnswer())
        except OSError:
            raise  # an address that is not ours: the operator's mistake
        except Exception as error:
            # the library trusts what it answers, and fails at the rest in any way
            message = f"the offer cannot be answered: {error!r}"
            raise InvalidField(message, field="sdp") from None
        return pc.localDescription.sdp

    def _note_origin(self) -> None:
        """Timestamps begin at a random number, which shows in the first one that was used."""
        if self._origin is not None or self._sent_us is None:
            return
        newest: int = getattr(self._sender, "_RTCRtpSender__rtp_timestamp", 0)
        if newest:
            self._origin = (newest - _ticks(self._sent_us)) & 0xFFFFFFFF

    async def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._events.connected()
        elif state in ("failed", "closed") and not self._closed:
            self._events.lost()

    def _opened(self, channel: RTCDataChannel) -> None:
        """The first channel counts; where that closes the client has left."""
        if self._channel is not None:
            return
        self._channel = channel
        channel.on("message", self._events.told)
        channel.on("close", self._channel_closed)

    def _channel_closed(self) -> None:
        if not self._closed:
            self._events.lost()

    def _track(self, track: MediaStreamTrack) -> None:
        self._begin(self._listen(track) if track.kind == "audio" else self._look(track))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, track: MediaStreamTrack) -> None:
        mono = av.AudioResampler(format="s16", layout="mono", rate=SOUND_CLOCK)
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, av.AudioFrame), "a track of sound"
            for each in mono.resample(frame):
                self._events.heard(LiveSound(each.to_ndarray()[0], SOUND_CLOCK))

    async def _look(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, av.VideoFrame), "a track of pictures"
            self._events.seen(frame)

    def _rtcp(self, packet: object) -> None:
        """What the receiver of the picture reports."""
        ssrc = self._sender._ssrc if self._sender is not None else 0
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == ssrc:
                    self._events.reported(report.fraction_lost / 256, None)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            self._events.wants_key()
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                bits, ssrcs = unpack_remb_fci(packet.fci)
            except ValueError:
                return
            if ssrc in ssrcs:
                self._events.reported(None, bits / 1e3)


def _observe(sender: RTCRtpSender, hear: Callable[[object], None]) -> None:
    """Have what the peer reports heard before the library acts on it."""
    handle = sender._handle_rtcp_packet

    async def heard(packet: Any) -> None:
        hear(packet)
        await handle(packet)

    sender._handle_rtcp_packet = heard


def _capabilities(codec: Codec) -> list[RTCRtpCodecCapability]:
    """This codec, and packets of it that are sent once more."""
    capabilities = RTCRtpReceiver.getCapabilities("video")
    known = [] if capabilities is None else capabilities.codecs
    return [each for each in known if each.mimeType in (_MIME[codec], "video/rtx")]


def _ticks(wire_us: float) -> int:
    return round(wire_us * VIDEO_CLOCK / 1e6)
