"""What pages of an allowed origin may read of this server: its models and their thumbnails."""

from __future__ import annotations

from ..config import ServerConfig

_SHARED = "/v1/models"


def cross_origin_headers(path: str, origin: str | None, config: ServerConfig) -> dict[str, str]:
    """Headers of an answer that let pages of the allowed origins, and no others, read it.

    A picture is asked for without an origin, so that what may be shown elsewhere is decided by the
    path alone; there is nothing of a stream in it.
    """
    shared = path == _SHARED or path.startswith(f"{_SHARED}/")
    if not shared or not config.allowed_origins:
        return {}
    headers = {"vary": "Origin", "cross-origin-resource-policy": "cross-origin"}
    if origin is not None and origin.lower() in config.allowed_origins:
        headers["access-control-allow-origin"] = origin
    return headers
