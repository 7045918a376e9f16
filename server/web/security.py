"""Who may talk to the server: the Host and Origin of a request, and the token.

A page of another site can open a WebSocket to a server on this machine, and a name that resolves
to 127.0.0.1 makes it look like the same site. The first is stopped by the origin, the second by
the host names that this server answers to.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from ..config import ServerConfig, is_loopback
from ..protocol.errors import ForbiddenOrigin, Unauthorized

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


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


def check_token(given: str | None, config: ServerConfig) -> None:
    """Raise Unauthorized unless the token is right or none is needed."""
    if config.token is None:
        return
    if given is None or not hmac.compare_digest(
        given.encode("utf-8", "replace"), config.token.encode()
    ):
        raise Unauthorized("the token is missing or wrong", field="token")


def bearer(authorization: str | None) -> str | None:
    """The token of an Authorization header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None
