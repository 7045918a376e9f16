"""WHEP and WHIP: an offer is posted, the answer is the resource of a peer until it is deleted.

WHEP (draft-ietf-wish-whep) shows a stream, WHIP (RFC 9725) sends sound and video to one. Who may
come is decided as on the WebSocket: by Host and Origin, by the token, by limits for each address.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from ..config import is_loopback
from ..protocol.client_messages import ClientHello, ClientMessage, SessionCreate, SessionWatch
from ..protocol.errors import (
    Capacity,
    InvalidField,
    RateLimited,
    StreamError,
    Timeout,
    TooLarge,
    Unauthorized,
)
from ..protocol.limits import OPUS_RATE, PROTOCOL_VERSION
from .client_tokens import PUBLISH, WATCH, Claims
from .peer_socket import Caller, PeerSocket
from .peers import Entry, Peers
from .publisher import Publisher
from .security import TokenExpired, bearer, check_origin
from .services import Services
from .websocket import Connection

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
MAX_OFFER_BYTES = 65_536
OFFER_S = 5.0
"""In which the whole of an offer has to come."""
ANSWER_S = 10.0
_METHODS = "POST, PATCH, DELETE, OPTIONS"
_STATUS = {
    "unauthorized": 401,
    "forbidden_origin": 403,
    "too_large": 413,
    "rate_limited": 429,
    "capacity": 503,
    "draining": 503,
    "engine_failed": 503,
    "timeout": 503,
    "unknown_session": 404,
    "session_expired": 404,
}


def webrtc_installed() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec("aiortc") is not None


def add_webrtc_routes(router: APIRouter, services: Services, peers: Peers) -> None:
    """Add the routes of one server."""
    config = services.engine.config
    desk = _Desk(services, peers)

    @router.get("/v1/webrtc")
    async def offered(request: Request) -> JSONResponse:
        """Whether streams go over WebRTC here, and the ICE servers, for who may open streams."""
        found: dict[str, Any] = {"available": desk.available}
        if desk.available and config.reached_at and all(map(is_loopback, config.reached_at)):
            found["loopback"] = True
        if desk.available and config.ice_servers:
            try:
                desk.check(request, "stream", WATCH)
            except StreamError:
                pass
            else:
                found["ice_servers"] = (await desk.ice()).for_clients()
        return JSONResponse(found, headers={"cache-control": "no-store"})

    if not desk.available:
        return

    for path, post in (("/v1/whep", desk.watch), ("/v1/whip", desk.publish)):
        router.add_api_route(path, partial(_said, post), methods=["POST"], include_in_schema=False)
        router.add_api_route(path, desk.options, methods=["OPTIONS"], include_in_schema=False)
        resource = f"{path}/{{name}}"
        router.add_api_route(
            resource, partial(_said, desk.trickle), methods=["PATCH"], include_in_schema=False
        )
        router.add_api_route(
            resource, partial(_said, desk.delete), methods=["DELETE"], include_in_schema=False
        )
        router.add_api_route(resource, desk.options, methods=["OPTIONS"], include_in_schema=False)


async def _said(act: Any, request: Request) -> Response:
    """What the request leads to, or why it leads to nothing."""
    try:
        return await act(request)
    except StreamError as error:
        headers = {}
        if isinstance(error, Unauthorized):
            headers["www-authenticate"] = "Bearer"
        if error.retry_after_s is not None:
            headers["retry-after"] = str(math.ceil(error.retry_after_s))
        said = {"code": error.code, "message": error.message, "hint": error.hint}
        said |= {} if error.field is None else {"field": error.field}
        return JSONResponse(said, _STATUS.get(error.code, 400), headers)


class _Desk:
    """Answers the requests of one server."""

    def __init__(self, services: Services, peers: Peers) -> None:
        self._services = services
        self._engine = services.engine
        self._peers = peers
        self.available = services.engine.config.webrtc and webrtc_installed()

    async def watch(self, request: Request) -> Response:
        """WHEP: show a stream. `?model=&scene=&prompt=&seed=` is for players without controls."""
        await self.ice()
        from ..webrtc.offer import choose_codec

        expired, claims = None, None
        given = bearer(request.headers.get("authorization"))
        try:
            claims = self.check(request, "stream", WATCH)
        except TokenExpired as error:
            expired = error
        offer = await self._offer(request)
        if expired is not None and not offer.has_channel:
            raise expired
        now_s = self._engine.now_s()
        codec = choose_codec(offer, self._services.encoders.usable(now_s))
        opening = () if offer.has_channel else self._opening(request, offer, given, claims)
        address = self._peers.admit(_host(request), now_s)
        caller = Caller(
            _host(request), request.headers.get("origin"), request.headers.get("host"), given
        )
        engine = self._engine
        socket = PeerSocket(
            caller, codec, opening, engine.metrics, engine.stalls, engine.config.send_timeout_s
        )
        socket.peer = peer = await self._peer(socket)
        entry = self._peers.add(address, peer)
        answer = await self._answered(entry, peer.answer_viewer(offer, codec))
        self._peers.serve(entry, partial(self._show, socket, may_resume=offer.has_channel))
        return await self._created(request, entry, answer)

    async def _show(self, socket: PeerSocket, *, may_resume: bool) -> None:
        """Until the peer ends; a stream that nobody was told how to resume ends with it."""
        try:
            await Connection(socket, self._services).run()
        finally:
            stream = self._engine.streams.get(socket.session_id)
            if stream is not None and not may_resume and not stream.session.attached:
                self._engine.close(stream.session_id)
            await socket.hold()

    async def publish(self, request: Request) -> Response:
        """WHIP: send sound and video to the stream that the token is of."""
        await self.ice()
        self._check_origin(request)
        given = bearer(request.headers.get("authorization"))
        now_s = self._engine.now_s()
        logins, links = self._services.logins, self._services.links
        host = _host(request)
        claims = logins.check(given, None, PUBLISH, host=host, over="whip", now_s=now_s)
        share = links.of(given, claims, PUBLISH)
        if share is None:
            raise Unauthorized(
                "the token is not one to speak by",
                hint="Ask the stream's client for one: session.share with publish.",
            )
        stream = self._engine.watched(share.session, share.epoch)
        offer = await self._offer(request)
        address = self._peers.admit(host, now_s)
        publisher = Publisher(self._engine, stream, share.epoch)
        peer = await self._peer(publisher)
        entry = self._peers.add(address, peer)
        answer = await self._answered(
            entry, peer.answer_publisher(offer, video=publisher.takes_video)
        )
        self._peers.serve(entry, publisher.run)
        return await self._created(request, entry, answer)

    async def trickle(self, request: Request) -> Response:
        """Further candidates. An ICE restart is not supported: a new offer is as quick."""
        from ..webrtc.offer import read_fragment

        self._check_origin(request)
        entry = self._entry(request)
        if entry is None:
            return Response(status_code=404)
        if request.headers.get("content-type", "").partition(";")[0].strip() != FRAGMENT:
            return Response(status_code=415, headers={"accept-patch": FRAGMENT})
        etag = request.headers.get("if-match")
        if etag is None:
            return Response(status_code=428)
        if etag not in (entry.etag, "*"):
            return Response(status_code=412)
        user, candidates = read_fragment(await _body(request))
        if etag == "*" or (user is not None and user != entry.peer.ice_user):
            return JSONResponse({"message": "ICE cannot be restarted here: offer anew"}, 422)
        await entry.peer.add_candidates(candidates)
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        """End a peer; the stream of one with controls waits for a resume."""
        self._check_origin(request)
        entry = self._entry(request)
        if entry is None:
            return Response(status_code=404)
        if entry.task is not None:
            entry.task.cancel()
        return Response(status_code=200)

    async def options(self, request: Request) -> Response:
        """What pages of other origins may send; `SafeHeaders` says which origins."""
        headers = {
            "accept-post": SDP,
            "allow": _METHODS,
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": "authorization, content-type, if-match",
            "access-control-max-age": "600",
        }
        return Response(status_code=204, headers=headers)

    def check(self, request: Request, *scopes: Any) -> Claims | None:
        """What the token says. Raises unless the request's origin and token permit this."""
        self._check_origin(request)
        first, *others = scopes
        given = bearer(request.headers.get("authorization"))
        host, now_s = _host(request), self._engine.now_s()
        logins = self._services.logins
        return logins.check(given, first, *others, host=host, over="webrtc", now_s=now_s)

    async def ice(self) -> Any:
        """Where peers reach this server."""
        # the library takes a third of a second to load, the first time
        ice = await asyncio.to_thread(importlib.import_module, "..webrtc.peer", __package__)
        config = self._engine.config
        return ice.IceOptions(
            config.reached_at, config.ice_servers, config.ice_username, config.ice_credential
        )

    def _check_origin(self, request: Request) -> None:
        headers = request.headers
        check_origin(headers.get("origin"), headers.get("host"), self._engine.config)

    async def _peer(self, events: Any) -> Any:
        from ..webrtc.peer import Peer

        return Peer(await self.ice(), events)

    async def _offer(self, request: Request) -> Any:
        from ..webrtc.offer import read_offer

        if request.headers.get("content-type", "").partition(";")[0].strip() != SDP:
            raise InvalidField(
                "the offer is not application/sdp", field="content-type", hint="Post SDP."
            )
        return read_offer(await _body(request))

    def _opening(
        self, request: Request, offer: Any, token: str | None, claims: Claims | None
    ) -> tuple[ClientMessage, ...]:
        """What a client with controls would say, for one without. Raises a StreamError."""
        hello = ClientHello(versions=[PROTOCOL_VERSION], codecs=["h264"], token=token)
        if self._services.links.of(token, claims) is not None:
            return hello, SessionWatch()
        if not self._engine.free_places():
            raise Capacity("all places are taken", retry_after_s=2.0)
        wish: dict[str, Any] = dict(request.query_params)
        if offer.sends_sound:
            wish.setdefault("audio_rate", OPUS_RATE)
        if wish.get("seed", "").isdecimal():
            wish["seed"] = int(wish["seed"])
        try:
            return hello, SessionCreate(**wish)
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first["loc"][0]) if first["loc"] else None
            raise InvalidField(first["msg"], field=field) from None

    async def _answered(self, entry: Entry, answering: Any) -> str:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answering
        except TimeoutError:
            await self._peers.drop(entry)
            raise Timeout(f"no answer could be made in {ANSWER_S:g} s", retry_after_s=2.0) from None
        except BaseException:
            await self._peers.drop(entry)
            raise

    async def _created(self, request: Request, entry: Entry, answer: str) -> Response:
        base = request.scope.get("root_path", "") + request.url.path.rstrip("/")
        response = Response(answer, 201, media_type=SDP)
        response.headers["location"] = f"{base}/{entry.name}"
        response.headers["etag"] = entry.etag
        response.headers["accept-patch"] = FRAGMENT
        for link in (await self.ice()).link_headers():
            response.headers.append("link", link)
        return response

    def _entry(self, request: Request) -> Entry | None:
        return self._peers.get(request.path_params["name"])


async def _body(request: Request) -> str:
    """The text of a request. Raises TooLarge, InvalidField, or RateLimited for one too slow."""
    data = bytearray()
    try:
        async with asyncio.timeout(OFFER_S):
            async for piece in request.stream():
                data += piece
                if len(data) > MAX_OFFER_BYTES:
                    raise TooLarge(
                        f"an offer has at most {MAX_OFFER_BYTES} bytes", hint="Send an offer alone."
                    )
    except TimeoutError:
        raise RateLimited(f"the offer did not come in {OFFER_S:g} s") from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidField("the offer is no UTF-8", field="sdp") from error


def _host(request: Request) -> str:
    return request.client.host if request.client else ""
