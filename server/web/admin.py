"""HTTP for who runs the server or has its secret: ending streams, and tokens to give to clients."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from ..engine.engine import Engine
from ..protocol.errors import RateLimited, Unauthorized
from .client_tokens import MAX_LIFE_S, MAX_SUBJECT_CHARS, Scope, make_token
from .failed_logins import FailedLogins
from .security import bearer

Check = Callable[[Request], Awaitable[None]]


class TokenWish(BaseModel):
    """What a new token should permit, for how many seconds from now, and perhaps to whom."""

    model_config = ConfigDict(extra="forbid")
    scope: set[Scope] = {"stream"}
    expires_in_s: int = Field(ge=1, le=MAX_LIFE_S)
    subject: str = Field(default="", max_length=MAX_SUBJECT_CHARS, pattern=r"^[ -~]*$")


class Token(BaseModel):
    """A token to be given to a client; it permits `scope` until `expires_s`, since 1970."""

    token: str
    scope: list[Scope]
    expires_s: int


def permits(engine: Engine, logins: FailedLogins, scope: Scope | None) -> Check:
    """A dependency that answers 401 unless the request's token permits this, or 429.

    `scope` None: only the server's own secret does.
    """

    async def check(request: Request) -> None:
        given = bearer(request.headers.get("authorization"))
        host = request.client.host if request.client else ""
        try:
            logins.check(given, scope, host=host, over="http", now_s=engine.now_s())
        except Unauthorized as error:
            headers = {"www-authenticate": "Bearer"}
            raise HTTPException(401, f"{error.message}. {error.hint}", headers) from error
        except RateLimited as error:
            headers = {"retry-after": str(math.ceil(error.retry_after_s or 1))}
            raise HTTPException(429, f"{error.message}. {error.hint}", headers) from error

    return check


def add_admin_routes(router: APIRouter, engine: Engine, logins: FailedLogins) -> None:
    """Add the routes of one server."""

    @router.delete(
        "/v1/sessions/{session_id}",
        status_code=204,
        dependencies=[Depends(permits(engine, logins, "sessions"))],
    )
    async def end_session(session_id: str) -> None:
        """End a stream at once; its client is told the error `ended`."""
        if not engine.end(session_id):
            raise HTTPException(404, "no such stream")

    @router.post(
        "/v1/tokens", status_code=201, dependencies=[Depends(permits(engine, logins, None))]
    )
    def tokens(wish: TokenWish) -> Token:
        """Make a token that a client can be given; the server's own secret is needed for it."""
        if engine.config.token is None:
            raise HTTPException(409, "this server has no secret, and clients need no token")
        expires_s = int(time.time()) + wish.expires_in_s
        secret = engine.config.token.reveal()
        token = make_token(secret, wish.scope, expires_s, wish.subject)
        return Token(token=token, scope=sorted(wish.scope), expires_s=expires_s)
