"""Who may talk to the server: the Host and Origin of a request, and the token.

A page of another site can open a WebSocket to a server on this machine, and a name that resolves
to 127.0.0.1 makes it look like the same site. The first is stopped by the origin, the second by
the host names that this server answers to.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ..config import ServerConfig, is_loopback
from ..protocol.errors import ForbiddenOrigin, Unauthorized
from .client_tokens import Claims, Scope, read_token

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


class TokenExpired(Unauthorized):
    """The token was right until lately."""


def host_allowed(host: str | None, config: ServerConfig) -> bool:
    """Whether a request's Host header names this server."""
    if not is_loopback(config.host) and not config.allowed_hosts:
        # Reachable under names that nobody listed; the token protects it.
        return True
    if not host or not set(host).isdisjoint("/?#@"):
        return False
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    name = name.rstrip(".")
    return name in LOOPBACK_NAMES or name in (config.host.lower(), *config.allowed_hosts)


def check_origin(origin: str | None, host: str | None, config: ServerConfig) -> None:
    """Raise ForbiddenOrigin for a page that this server did not serve.

    Programs send no Origin and pass; browsers always send it.
    """
    if not host_allowed(host, config):
        raise ForbiddenOrigin(
            f"this server does not answer to the host {host!r}",
            hint="Use the address the server printed, or add the name to the allowed hosts.",
        )
    if origin is None or origin.lower() in config.allowed_origins:
        return
    own = (host or "").lower()
    if not own or origin.lower() not in (f"http://{own}", f"https://{own}"):
        raise ForbiddenOrigin(f"pages from {origin!r} may not open streams here")


def check_token(
    given: str | None, config: ServerConfig, scope: Scope | None, now_s: float, *others: str
) -> Claims | None:
    """Raise Unauthorized unless the token permits this, or none is needed.

    Returns what a token of the secret says, None for the secret itself.

    The server's secret permits all; what it made, its scope (None: nothing), or one of `others`,
    until it expires at `now_s`, in seconds since 1970, with the error TokenExpired.
    """
    if config.token is None:
        return None
    if given is not None and config.token.matches(given):
        return None
    claims = None if given is None else read_token(config.token.reveal(), given)
    if claims is None:
        raise Unauthorized("the token is missing or wrong", field="token")
    if claims.scope.isdisjoint((scope, *others)):
        raise Unauthorized(
            f"the token does not permit this, only {', '.join(sorted(claims.scope)) or 'nothing'}",
            field="token",
            hint="Use the server's own secret, or a token made with this scope.",
        )
    check_expiry(claims, now_s)
    return claims


def check_expiry(claims: Claims, now_s: float) -> None:
    """Raise TokenExpired if that is so at `now_s`, in seconds since 1970."""
    if claims.expires_s <= now_s:
        raise TokenExpired(
            "the token has expired", field="token", hint="Ask who gave it for a new one."
        )


def bearer(authorization: str | None) -> str | None:
    """The token of an Authorization header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None
