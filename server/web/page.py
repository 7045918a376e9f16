"""The page over HTTP, with headers that let a browser do nothing but what the page needs."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...models.face.networks import FILE as FACE_NETWORKS
from ..config import ServerConfig
from .cross_origin import cross_origin_headers
from .security import host_allowed

_ROOT = Path(__file__).resolve().parents[2]
# Installed, the page lies beside the other packages; in a checkout with its own tests and tools.
CLIENT_DIR = _ROOT / "page" if (_ROOT / "page").is_dir() else _ROOT / "client" / "web"
SERVED_SUFFIXES = frozenset((".html", ".css", ".js", ".mjs", ".svg", ".png", ".ico", ".woff2"))
_NETWORKS = "face/networks.safetensors"
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(self), geolocation=()",
    "x-frame-options": "DENY",
}
# Browsers heed it for names only, and not where a certificate is not trusted. Not for localhost: it
# would hold for every other server of this machine.
_STRICT = "max-age=31536000"


class PageFiles(StaticFiles):
    """The files of the page; what belongs to its tools is not served."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, always revalidated so that a new version of the server is a new page.

        The networks that find faces are the server's own, which reads pictures with them too.
        """
        if path == _NETWORKS:
            return FileResponse(FACE_NETWORKS, headers={"cache-control": "no-cache"})
        if Path(path).suffix not in SERVED_SUFFIXES or "node_modules" in Path(path).parts:
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        stale = "no-store" if path.endswith(".html") else "no-cache"
        response.headers["cache-control"] = stale
        return response


class SafeHeaders:
    """ASGI middleware: refuses foreign host names, adds the security headers, and makes of HEAD a
    GET, whose body the HTTP protocol leaves out.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        host = asked.get("host", "")
        if not host_allowed(host, self._config):
            text = "This server does not answer to that host name.\n"
            await PlainTextResponse(text, 421)(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                shared = cross_origin_headers(scope["path"], asked.get("origin"), self._config)
                headers.update(shared)
                headers["content-security-policy"] = content_security_policy(host)
                if self._config.tls and _name(host) != "localhost":
                    headers["strict-transport-security"] = _STRICT
            await send(message)

        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send_safely)


def _name(host: str) -> str:
    """A Host header without its port."""
    return host.rpartition(":")[0].lower() if re.search(r":\d+$", host) else host.lower()


def content_security_policy(host: str) -> str:
    """Only this server's own files and its own socket (older browsers do not count ws as self)."""
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; font-src 'self'; "
        f"connect-src 'self'{sockets}; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
