"""A LiveKit server for tests: signalling, data and media between participants, and a sink.

It speaks the SDKs' protocol version 0 (`GET /rtc`): a participant has one peer connection for what
it publishes and one for what it hears. Data packets go to whom they are for; media goes, as it was
encoded, to everybody who is no agent, and is decoded here as it arrives, packet by packet and
without a jitter buffer, so that its times are the network's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiortc.rtcrtpreceiver as receiving
import av
import numpy as np
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp
from av.error import FFmpegError
from livekit.protocol import models
from livekit.protocol import rtc as signals
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.client.livekit.forwarding import Forwarded, send

VERSION = "1.9.0"
PAGE = "/page"


@dataclass
class Seen:
    """What arrived of one participant: times are the monotonic clock's."""

    frames: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """Uint8 RGB [H, W, 3]."""
    sound: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """20 ms each, int16 at 48,000 samples per second."""
    kinds: set[str] = field(default_factory=set)


class Sink:
    """Decodes the packets of one receiver, in the order of their arrival, and passes them on."""

    def __init__(self, seen: Seen, kind: str, pass_on: Callable[[bytes, int], None]) -> None:
        self._seen = seen
        self._kind = kind
        self._pass_on = pass_on
        name = "h264" if kind == "video" else "libopus"
        self._codec: Any = av.CodecContext.create(name, "r")
        if kind == "audio":
            self._codec.sample_rate, self._codec.layout = 48_000, "stereo"
        self._unit = b""

    def take(self, packet: Any) -> None:
        now_s, data = time.monotonic(), getattr(packet, "_data", b"")
        if self._kind == "video":
            self._unit += data
            if not packet.marker:
                return
            data, self._unit = self._unit, b""
        if not data:
            return
        self._pass_on(data, packet.timestamp)
        try:
            frames = self._codec.decode(av.Packet(data))
        except FFmpegError:
            return
        for frame in frames:
            if self._kind == "video":
                self._seen.frames.append((now_s, frame.to_ndarray(format="rgb24")))
            else:
                samples = frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)]
                if samples.dtype != np.int16:
                    samples = (32767 * samples).astype(np.int16)
                self._seen.sound.append((now_s, samples))


class Participant:
    """One socket of the SDK with its two peer connections."""

    def __init__(self, room: Room, socket: ServerConnection, claims: dict[str, Any]) -> None:
        self.room = room
        self.socket = socket
        self.identity: str = claims["sub"]
        agent = claims.get("kind") == "agent"
        self.info = models.ParticipantInfo(
            sid=f"PA_{self.identity}",
            identity=self.identity,
            name=claims.get("name", ""),
            state=models.ParticipantInfo.ACTIVE,
            kind=models.ParticipantInfo.AGENT if agent else models.ParticipantInfo.STANDARD,
            is_publisher=True,
            joined_at=int(time.time()),
            permission=models.ParticipantPermission(
                can_subscribe=True, can_publish=True, can_publish_data=True
            ),
        )
        self.info.attributes.update(claims.get("attributes") or {})
        self.seen = Seen()
        self.publisher: RTCPeerConnection | None = None
        self.subscriber = RTCPeerConnection(_configuration())
        self.channels = {
            "_reliable": self.subscriber.createDataChannel("_reliable"),
            "_lossy": self.subscriber.createDataChannel("_lossy", maxRetransmits=0),
        }
        self._early: list[Any] = []
        self._watches = not agent
        self._offers = 1
        self._offering = asyncio.Lock()
        self._answered = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._outlets: dict[str, list[Forwarded]] = {"audio": [], "video": []}
        """By kind, where what this one sends goes."""
        self._ssrc: int | None = None

    async def send(self, **message: Any) -> None:
        await self.socket.send(signals.SignalResponse(**message).SerializeToString())

    async def welcome(self) -> None:
        others = [each.info for each in self.room.others(self)]
        await self.send(
            join=signals.JoinResponse(
                room=models.Room(sid=f"RM_{self.room.name}", name=self.room.name),
                participant=self.info,
                other_participants=others,
                server_version=VERSION,
                subscriber_primary=True,
                ping_timeout=60,
                ping_interval=30,
                server_info=models.ServerInfo(version=VERSION, protocol=16),
            )
        )
        await self.room.tell(self)
        await self._offer_media()
        for other in self.room.others(self):
            other.show_to(self)

    async def _offer_media(self) -> None:
        self._answered.clear()
        await self.subscriber.setLocalDescription(await self.subscriber.createOffer())
        sdp = self.subscriber.localDescription.sdp
        await self.send(offer=signals.SessionDescription(type="offer", sdp=sdp, id=self._offers))
        self._offers += 1

    def show_to(self, viewer: Participant) -> None:
        """All tracks of this one go to that one, unless it is an agent."""
        if viewer._watches:
            for track in self.info.tracks:
                viewer.spawn(viewer.watch(self, track))

    async def watch(self, owner: Participant, info: models.TrackInfo) -> None:
        """Have a track of another one sent here."""
        kind = "video" if info.type == models.VIDEO else "audio"
        track = Forwarded(kind)
        async with self._offering:
            await self._answered.wait()
            sender = send(self.subscriber, track, owner.info.sid, info.sid)
            vars(sender)["_send_keyframe"] = lambda: owner.spawn(owner.ask_key())
            await self._offer_media()
            await self._answered.wait()
        owner._outlets[kind].append(track)
        await owner.ask_key()

    async def ask_key(self) -> None:
        """Ask whoever publishes for a key frame."""
        if self.publisher is not None and self._ssrc is not None:
            for receiver in self.publisher.getReceivers():
                if receiver.track.kind == "video":
                    await receiver._send_rtcp_pli(self._ssrc)

    def spawn(self, run: Any) -> None:
        task = asyncio.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def take(self, request: signals.SignalRequest) -> None:
        match request.WhichOneof("message"):
            case "offer":
                await self._offer(request.offer)
            case "answer":
                answer = RTCSessionDescription(request.answer.sdp, "answer")
                await self.subscriber.setRemoteDescription(answer)
                self._answered.set()
            case "trickle":
                await self._candidate(request.trickle)
            case "add_track":
                await self._add_track(request.add_track)
            case "ping":
                await self.send(pong=request.ping)
            case "ping_req":
                stamp = request.ping_req.timestamp
                pong = signals.Pong(last_ping_timestamp=stamp, timestamp=int(time.time() * 1000))
                await self.send(pong_resp=pong)
            case "leave":
                await self.socket.close()

    async def leave(self) -> None:
        self.info.state = models.ParticipantInfo.DISCONNECTED
        await self.room.tell(self)
        for task in self._tasks:
            task.cancel()
        for outlets in self._outlets.values():
            for track in outlets:
                track.stop()
        for connection in (self.publisher, self.subscriber):
            if connection is not None:
                await connection.close()

    async def _offer(self, offer: signals.SessionDescription) -> None:
        if self.publisher is None:
            self.publisher = RTCPeerConnection(_configuration())
            self.publisher.on("datachannel", self._listen)
        await self.publisher.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        early, self._early = self._early, []
        for candidate in early:
            await self.publisher.addIceCandidate(candidate)
        await self.publisher.setLocalDescription(await self.publisher.createAnswer())
        for transceiver in self.publisher.getTransceivers():
            self._watch(transceiver.receiver, transceiver.kind)
        sdp = self.publisher.localDescription.sdp
        await self.send(answer=signals.SessionDescription(type="answer", sdp=sdp, id=offer.id))

    def _watch(self, receiver: RTCRtpReceiver, kind: str) -> None:
        """Hand every packet to a sink as it comes."""
        if hasattr(receiver, "sink"):
            return
        outlets = self._outlets[kind]

        def pass_on(data: bytes, timestamp: int) -> None:
            for track in outlets:
                track.put(data, timestamp)

        sink = Sink(self.seen, kind, pass_on)
        vars(receiver)["sink"] = sink
        # aiortc takes a busy machine for a narrow link, and senders then leave frames out
        vars(receiver)["_RTCRtpReceiver__remote_bitrate_estimator"] = None
        handle = receiver._handle_rtp_packet

        async def watched(packet: Any, arrival_time_ms: int) -> None:
            await handle(packet, arrival_time_ms=arrival_time_ms)
            self.seen.kinds.add(kind)
            if kind == "video":
                self._ssrc = packet.ssrc
            sink.take(packet)

        receiver._handle_rtp_packet = watched

    def _listen(self, channel: Any) -> None:
        channel.on("message", lambda data: self.room.pass_on(self, channel.label, data))

    async def _candidate(self, trickle: signals.TrickleRequest) -> None:
        told = json.loads(trickle.candidateInit)
        if not told.get("candidate"):
            return
        candidate = candidate_from_sdp(told["candidate"].split(":", 1)[1])
        candidate.sdpMid, candidate.sdpMLineIndex = told.get("sdpMid"), told.get("sdpMLineIndex")
        if candidate.protocol != "udp" or ":" in candidate.ip:
            return
        connection = self.publisher if trickle.target == 0 else self.subscriber
        if connection is None or connection.remoteDescription is None:
            self._early.append(candidate)
        else:
            await connection.addIceCandidate(candidate)

    async def _add_track(self, wanted: signals.AddTrackRequest) -> None:
        is_video = wanted.type == models.VIDEO
        track = models.TrackInfo(
            sid=f"TR_{self.identity}_{len(self.info.tracks)}",
            type=wanted.type,
            name=wanted.name,
            width=wanted.width,
            height=wanted.height,
            source=wanted.source,
            mime_type="video/H264" if is_video else "audio/opus",
        )
        self.info.tracks.append(track)
        await self.send(track_published=signals.TrackPublishedResponse(cid=wanted.cid, track=track))
        await self.room.tell(self)
        for viewer in self.room.others(self):
            if viewer._watches:
                viewer.spawn(viewer.watch(self, track))


class Room:
    """Those who are there, and what of them is told to the others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.here: dict[str, Participant] = {}

    def others(self, than: Participant) -> list[Participant]:
        return [each for each in self.here.values() if each is not than]

    async def tell(self, of: Participant) -> None:
        for each in self.others(of):
            await each.send(update=signals.ParticipantUpdate(participants=[of.info]))

    def pass_on(self, sender: Participant, label: str, data: bytes) -> None:
        packet = models.DataPacket.FromString(data)
        packet.participant_identity, packet.participant_sid = sender.identity, sender.info.sid
        wanted = set(packet.destination_identities)
        for each in self.others(sender):
            if not wanted or each.identity in wanted:
                each.channels[label].send(packet.SerializeToString())


class RoomServer:
    """All rooms; `seen` says what a participant has sent, also when it has left."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.seen: dict[tuple[str, str], Seen] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        claims = _claims(socket.request)
        name = claims.get("video", {}).get("room", "")
        room = self.rooms.setdefault(name, Room(name))
        participant = Participant(room, socket, claims)
        room.here[participant.identity] = participant
        self.seen[name, participant.identity] = participant.seen
        try:
            await participant.welcome()
            async for data in socket:
                if isinstance(data, bytes):
                    await participant.take(signals.SignalRequest.FromString(data))
        finally:
            room.here.pop(participant.identity, None)
            await participant.leave()


class _Nothing:
    """In place of aiortc's decoders: the sink has its own."""

    def decode(self, frame: Any) -> list[Any]:
        return []


@asynccontextmanager
async def serving() -> AsyncIterator[RoomServer]:
    """A server on 127.0.0.1; its media goes by the machine's other interfaces."""
    rooms = RoomServer()
    names = receiving.__dict__
    decoder = names["get_decoder"]
    names["get_decoder"] = lambda codec: _Nothing()
    try:
        async with serve(rooms.serve, "127.0.0.1", 0, process_request=_only_version_0) as server:
            rooms.port = next(iter(server.sockets)).getsockname()[1]
            yield rooms
    finally:
        names["get_decoder"] = decoder


def _only_version_0(socket: ServerConnection, request: Request) -> Response | None:
    """Answer what is no socket: an empty page, of whose address browsers may come, and checks."""
    path = urlsplit(request.path).path
    if path == "/rtc":
        return None
    response = socket.respond(200 if path in ("/rtc/validate", PAGE) else 404, "")
    if path == PAGE:
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "text/html"
    return response


def _claims(request: Request) -> dict[str, Any]:
    """What a token says; tests trust it."""
    query = parse_qs(urlsplit(request.path).query)
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    token = bearer or query.get("access_token", [""])[0]
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def _configuration() -> RTCConfiguration:
    # the default leaves a second m-line of a kind on a transport that nobody uses
    return RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
