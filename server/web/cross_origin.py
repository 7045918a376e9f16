"""What pages of an allowed origin may read here: models, thumbnails, and answers of WebRTC."""

from __future__ import annotations

from ..config import ServerConfig

_SHARED = ("/v1/models", "/v1/webrtc", "/v1/whep", "/v1/whip")


def cross_origin_headers(path: str, origin: str | None, config: ServerConfig) -> dict[str, str]:
    """Headers of an answer that let pages of the allowed origins, and no others, read it.

    A picture is asked for without an origin, so that what may be shown elsewhere is decided by the
    path alone; there is nothing of a stream in it.
    """
    shared = any(path == each or path.startswith(f"{each}/") for each in _SHARED)
    if not shared or not config.allowed_origins:
        return {}
    headers = {"vary": "Origin", "cross-origin-resource-policy": "cross-origin"}
    if origin is not None and origin.lower() in config.allowed_origins:
        headers["access-control-allow-origin"] = origin
        headers["access-control-expose-headers"] = "location, etag, link"
    return headers
