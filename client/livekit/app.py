"""The worker's HTTP: both contracts, the secret in front of them, and how it is told it is well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import compare_digest

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from . import lite
from .avatars import Avatars
from .launch import MAX_BODY_BYTES, launch, refusal
from .lite import LiteSessions

SECRET_PATHS = frozenset(("/launch", "/v1/sessions/token"))
"""The other requests need what these have answered."""


def build_app(
    avatars: Avatars, *, secret: str | None = None, room_servers: tuple[str, ...] = ()
) -> Starlette:
    """The application; with a `secret` who sends for an avatar has to give it as its API key.

    Avatars join rooms of `room_servers` only, or of any.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await avatars.close()

    app = Starlette(
        routes=[
            Route("/launch", launch, methods=["POST"]),
            Route("/v1/sessions/token", lite.token, methods=["POST"]),
            Route("/v1/sessions/start", lite.start, methods=["POST"]),
            Route("/v1/sessions/stop", lite.stop, methods=["POST"]),
            WebSocketRoute(
                "/v1/sessions/socket/{session_id}/{key}", lite.socket, name="lite-socket"
            ),
            Route("/healthz", _health),
        ],
        lifespan=lifespan,
    )
    app.add_middleware(Gate, secret=secret)
    app.state.avatars, app.state.room_servers = avatars, room_servers
    app.state.lite = LiteSessions(avatars)
    return app


async def _health(request: Request) -> Response:
    avatars: Avatars = request.app.state.avatars
    return JSONResponse({"avatars": len(avatars)})


class Gate:
    """Lets in who knows the secret, no page of a browser, and no body that is too large."""

    def __init__(self, app: ASGIApp, secret: str | None) -> None:
        self._app = app
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in place of the application, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer: Response | None = None
        if "origin" in headers:
            answer = refusal(403, "pages of browsers cannot send for avatars")
        elif scope["path"] in SECRET_PATHS and not self._knows(headers):
            answer = refusal(401, "the worker's secret is missing or wrong; give it as API key")
        elif _length(headers) > MAX_BODY_BYTES:
            answer = refusal(413, f"a request has at most {MAX_BODY_BYTES} bytes and says how many")
        await (answer or self._app)(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        if self._secret is None:
            return True
        bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
        given = (bearer, headers.get("api-secret", ""), headers.get("x-api-key", ""))
        return any(compare_digest(each.encode(), self._secret.encode()) for each in given)


def _length(headers: Headers) -> int:
    """Bytes of the body; one that does not say so is too long."""
    if "transfer-encoding" in headers:
        return MAX_BODY_BYTES + 1
    try:
        return int(headers.get("content-length", "0"))
    except ValueError:
        return MAX_BODY_BYTES + 1
