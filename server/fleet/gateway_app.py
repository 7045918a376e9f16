"""The gateway's HTTP: the page from here, what a server knows from a replica that is asked."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from ..config import ServerConfig
from ..handover.lease import BadLease, read_lease
from ..protocol.hello import server_version
from ..web.app import certificate_of
from ..web.connections import ConnectionLimits
from ..web.draining_server import DrainingServer, draining_server
from ..web.page import CLIENT_DIR, PageFiles, SafeHeaders
from ..web.rest import PROMETHEUS
from ..web.security import bearer
from .client_protocol import ClientProtocol
from .gateway import Gateway
from .http_call import NoAnswer, call
from .ledger import Replica

GATEWAY = "gateway"
"""The name of all gateways in leases."""
RETRY_S = 5.0
_PASSED = ("authorization", "accept", "origin", "content-type")
_KEPT = (
    *("content-type", "content-disposition", "cache-control"),
    *("retry-after", "www-authenticate"),
)


def create_gateway_app(gateway: Gateway) -> FastAPI:
    """The app of a gateway, which starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gateway.start()
        yield
        await gateway.stop()

    app = FastAPI(
        title="rollcast", version=server_version(), lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.engine = gateway  # whom the server tells to drain
    app.add_middleware(SafeHeaders, config=gateway.config)
    _add_condition(app, gateway)
    _add_replicas(app, gateway)
    _add_page(app)
    return app


def build_gateway(gateway: Gateway, *, limits: ConnectionLimits | None = None) -> DrainingServer:
    """A server for a gateway, not started."""
    config: ServerConfig = gateway.config
    return draining_server(
        create_gateway_app(gateway),
        config,
        certificate_of(config),
        limits,
        websocket=partial(ClientProtocol, gateway=gateway),
        closed_for_s=lambda: RETRY_S if gateway.draining else None,
    )


def _add_condition(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/health")
    async def health() -> dict[str, Any]:
        """200 while the gateway works."""
        return {"status": "ok", "version": server_version(), "streams": len(gateway.carriers)}

    @app.get("/ready")
    async def ready(response: Response) -> dict[str, Any]:
        """200 while a new stream would get a place, else 503."""
        places = sum(each.free for each in gateway.directory.replicas.values())
        is_ready = gateway.ready and places > 0 and not gateway.draining
        response.status_code = 200 if is_ready else 503
        return {"ready": is_ready, "sessions": len(gateway.carriers), "places": places}

    @app.get("/v1/webrtc")
    async def offered(response: Response) -> dict[str, bool]:
        """Streams do not go over WebRTC through a gateway: clients take the WebSocket."""
        response.headers["cache-control"] = "no-store"
        return {"available": False}

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics of this gateway; replicas have their own."""
        return Response(_metrics(gateway), media_type=PROMETHEUS)

    @app.post("/fleet/hand-over/{session}", include_in_schema=False)
    async def hand_over(session: str, request: Request) -> Response:
        """What another gateway needs to go on with a stream that was here."""
        key, token = gateway.config.fleet_key, bearer(request.headers.get("authorization"))
        assert key is not None, "a gateway has one"
        try:
            lease = read_lease(token, key.reveal(), "keeper", replica=GATEWAY, now_s=time.time())
        except BadLease as error:
            raise HTTPException(401, str(error)) from error
        body = gateway.hand_over(session) if lease.session == session else None
        if body is None:
            raise HTTPException(404, "no such stream")
        return Response(body, media_type="application/octet-stream")


def _metrics(gateway: Gateway) -> bytes:
    registry = CollectorRegistry()
    moves = gateway.moves
    for name, help_, value in (
        ("streams", "Streams that are carried.", len(gateway.carriers)),
        ("parked", "Streams whose client may come back.", len(gateway.parked)),
        ("watchers", "Viewers by share links.", len(gateway.watchers)),
        ("waiting", "Clients that wait for a place.", gateway.waiting),
        ("moves_failure", "Moves since a replica was lost.", moves.failures),
        ("moves_planned", "Moves since a replica was drained.", moves.planned),
        ("moves_given_up", "Streams that no replica went on with.", moves.given_up),
        ("move_longest_s", "The longest of the latest moves.", max(moves.took_s, default=0.0)),
        ("replicas_ready", "Replicas that take streams.", len(_ready(gateway))),
    ):
        Gauge(f"rollcast_gateway_{name}", help_, registry=registry).set(value)
    return generate_latest(registry)


def _ready(gateway: Gateway) -> list[Replica]:
    return [each for each in gateway.directory.replicas.values() if each.condition == "ready"]


def _add_replicas(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/v1/models")
    @app.get("/v1/models/{model}/scenes/{scene}/thumbnail")
    @app.post("/v1/tokens")
    async def of_any(request: Request) -> Response:
        """What every replica knows."""
        return await _ask_any(gateway, request)

    @app.get("/v1/sessions")
    async def sessions(request: Request) -> Response:
        """The streams of all replicas."""
        answers = await asyncio.gather(
            *(_ask(each, request) for each in gateway.directory.replicas.values()),
            return_exceptions=True,
        )
        found: list[Any] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                continue
            if answer.status_code != 200:
                return answer
            found += msgspec.json.decode(answer.body)
        return Response(msgspec.json.encode(found), media_type="application/json")

    @app.get("/v1/sessions/{session_id}/clip")
    @app.get("/v1/sessions/{session_id}/log")
    @app.delete("/v1/sessions/{session_id}")
    async def of_session(session_id: str, request: Request) -> Response:
        """What a stream's own replica knows of it; or its end at once, wherever it is."""
        place = await gateway.where_now(session_id)
        replica = None if place is None else gateway.directory.replicas.get(place.replica)
        if replica is None:
            return await _ask_any(gateway, request)
        try:
            return await _ask(replica, request)
        except NoAnswer as error:
            raise _nobody() from error


async def _ask_any(gateway: Gateway, request: Request) -> Response:
    for replica in _ready(gateway):
        try:
            return await _ask(replica, request)
        except NoAnswer:
            continue
    raise _nobody()


async def _ask(replica: Replica, request: Request) -> Response:
    """What a replica answers to a client's request. Raises NoAnswer."""
    headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
    if request.client is not None:
        headers["x-forwarded-for"] = request.client.host
    query = f"?{request.url.query}" if request.url.query else ""
    answer = await call(
        request.method,
        f"{replica.url}{request.url.path}{query}",
        body=await request.body(),
        headers=headers,
    )
    kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    return Response(answer.body, answer.status, kept)


def _nobody() -> HTTPException:
    retry = {"retry-after": str(math.ceil(RETRY_S))}
    return HTTPException(503, "no server of the fleet answers", retry)


def _add_page(app: FastAPI) -> None:
    @app.get("/v1/stream", include_in_schema=False)
    async def no_upgrade() -> Response:
        """What a client gets whose request for a WebSocket lost its Upgrade on the way."""
        text = "This is a WebSocket. A proxy on the way has to pass the Upgrade header on.\n"
        return PlainTextResponse(text, 426, {"upgrade": "websocket", "connection": "upgrade"})

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """The page."""
        return FileResponse(CLIENT_DIR / "index.html", headers={"cache-control": "no-store"})

    if CLIENT_DIR.is_dir():
        app.mount("/client", PageFiles(directory=CLIENT_DIR), name="client")
