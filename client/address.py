"""Where a server is: from what people paste to the address of its WebSocket, and the way there."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from .messages import AudioCodec, Codec

STREAM_PATH = "/v1/stream"
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_PAGE = "/index.html"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how to be let in.

    `url` is the server's, its page's or its WebSocket's address, as `stream_url` reads it.
    """

    url: str
    token: str | None = None
    tls: ssl.SSLContext | None = None
    codecs: tuple[Codec, ...] = ("h264", "vp8", "jpeg")
    audio: bool = True
    audio_codec: AudioCodec = "pcm"

    @property
    def secret(self) -> str | None:
        """The token, without white space around it; else the one in the address, if any."""
        return (self.token or "").strip() or pasted_token(self.url)


def stream_url(url: str) -> str:
    """The WebSocket's address, given that, a page's address or `host:port`.

    A page's path may have a prefix, as behind a proxy; what begins with ws and names a path is
    taken as it is. Raises ValueError for what is no address.
    """
    try:
        parts = urlsplit(url.strip() if "//" in url else f"//{url.strip()}", scheme="http")
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"a server's address looks like http://127.0.0.1:8000, got {url!r}")
    path = parts.path
    named = parts.scheme.startswith("ws") and not path.endswith("/") and path
    if not named and not path.endswith(STREAM_PATH):
        path = path.removesuffix(_PAGE).rstrip("/") + STREAM_PATH
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def pasted_token(url: str) -> str | None:
    """The token in the fragment of a page's address, where a `+` is a plus."""
    return _in_fragment(url, "token")


def watch_token(url: str) -> str | None:
    """The token of a share link."""
    return _in_fragment(url, "watch")


def share_link(url: str, token: str) -> str:
    """The address of the page that shows the stream of this token, at the server of `url`."""
    parts = urlsplit(stream_url(url))
    scheme = {"ws": "http", "wss": "https"}[parts.scheme]
    path = parts.path.removesuffix(STREAM_PATH) + "/"
    return urlunsplit((scheme, parts.netloc, path, parts.query, f"watch={token}"))


def may_take_proxy(url: str) -> bool:
    """Whether the environment names a proxy for this address. None leads to this machine."""
    host = urlsplit(url).hostname or ""
    return not is_loopback(url) and bool(getproxies()) and not proxy_bypass(host)


def _in_fragment(url: str, wanted: str) -> str | None:
    for part in urlsplit(url).fragment.split("&"):
        name, _, value = part.partition("=")
        if name == wanted and value:
            return unquote(value)
    return None


def is_loopback(url: str) -> bool:
    """Whether this machine is meant."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
