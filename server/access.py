"""What an operator writes about who may come, as it is compared: host names, origins, the token.

What could never match anything is refused here, at the start.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from .protocol.limits import MAX_TOKEN_CHARS

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NO_PAGES = frozenset(("", "file", "ftp", "ws", "wss"))
"""Schemes that no page has which sends its origin; extensions and applications have their own."""
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:.]+")
_TOKEN = re.compile(r"[ -~]+")


def host_name(text: str) -> str:
    """The name or address that a Host header is compared with, of whatever was pasted.

    In lower case, without scheme, port, slash and the brackets of IPv6. Raises ValueError for
    what no Host header can be.
    """
    parts = _split(text if "://" in text else f"//{_bracketed(text.strip())}", text)
    name = _ascii(parts.hostname or "")
    if parts.path not in ("", "/") or "@" in parts.netloc or not _NAME.fullmatch(name):
        raise ValueError(
            f"allowed host {text!r} can match nothing: write a name or an address alone, like "
            "studio.example, without wildcards"
        )
    return name


def page_origin(text: str) -> str:
    """The origin of a page as browsers send it: in lower case, without slash and default port.

    Raises ValueError for what no Origin header can be.
    """
    parts = _split(text.strip(), text)
    name = _ascii(parts.hostname or "")
    usable = parts.scheme not in _NO_PAGES and _NAME.fullmatch(name)
    if (
        not usable
        or "@" in parts.netloc
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError(
            f"allowed origin {text!r} can match nothing: write scheme and name, like "
            "https://studio.example, without a path or wildcards"
        )
    shown = f"[{name}]" if ":" in name else name
    port = parts.port
    default = port is None or port == _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{shown}" + ("" if default else f":{port}")


def usable_token(text: str) -> str:
    """The token without the white space around it that files and editors leave.

    Raises ValueError for one that is empty, too long, or cannot travel in a header and an address
    alike.
    """
    token = text.strip()
    if not token:
        raise ValueError("the token is empty: give a non-empty token or none at all")
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError(
            f"the token has {len(token)} characters, at most {MAX_TOKEN_CHARS} can be sent"
        )
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            "the token has a character that cannot travel in every place: use letters without "
            "accents, digits and signs like -._~+/="
        )
    return token


def _split(address: str, text: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  which is only looked at when it is asked for
    except ValueError as error:
        raise ValueError(f"{text!r} is no host or origin: {error}") from error
    return parts


def _bracketed(text: str) -> str:
    """IPv6 as it stands in addresses; `::1` alone has no port that could be meant."""
    return f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text


def _ascii(name: str) -> str:
    """As browsers send it; what cannot be one stays as it is and matches nothing."""
    try:
        return name.rstrip(".").encode("idna").decode()
    except UnicodeError:
        return name
