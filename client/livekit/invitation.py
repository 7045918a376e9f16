"""What an avatar is asked to come with: the room, a token for it, and whom it is to look like."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_URL_CHARS = 2048
MAX_TOKEN_CHARS = 16_384
_SCHEMES = ("ws", "wss", "http", "https")


@dataclass(frozen=True, slots=True)
class Invitation:
    """A LiveKit server's address, a participant's token for one of its rooms, and a face.

    `picture` is a JPEG as `load_picture` reads it; `scene` names an avatar of the Rollcast server.
    """

    url: str
    token: str
    room: str = ""
    scene: str | None = None
    picture: bytes | None = None


class BadInvitation(ValueError):
    """What somebody asks for cannot be done; `field` names the part of the request."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def check_room(url: str, token: str, servers: tuple[str, ...]) -> None:
    """Raise BadInvitation unless both look usable and the server is one of `servers`, if any."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and len(url) <= MAX_URL_CHARS
    except ValueError:
        usable = False
    if not usable:
        raise BadInvitation(
            "livekit_url has to be the address of a LiveKit server, like wss://rooms.example",
            "livekit_url",
        )
    if servers and _server(url) not in {_server(each) for each in servers}:
        raise BadInvitation(
            f"this worker joins rooms of {', '.join(servers)} only; start it with another "
            "--room-server",
            "livekit_url",
        )
    if token.count(".") != 2 or len(token) > MAX_TOKEN_CHARS:
        raise BadInvitation(
            "livekit_token has to be a LiveKit access token, which has three parts with dots "
            "between them",
            "livekit_token",
        )


def _server(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    usual = 443 if parts.scheme in ("wss", "https") else 80
    return (parts.hostname or "").rstrip("."), parts.port or usual
