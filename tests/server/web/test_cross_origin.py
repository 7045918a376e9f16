"""Pages of an allowed origin may read models and thumbnails; nobody else's, and nothing else."""

from __future__ import annotations

import pytest

from rollcast.server.config import ServerConfig
from rollcast.server.web.cross_origin import cross_origin_headers

from ..running import running
from .test_rest import get

STUDIO = "https://studio.example"
ALLOWING = ServerConfig(allowed_origins=("HTTPS://Studio.Example/",))


async def test_an_allowed_page_reads_models_and_shows_thumbnails() -> None:
    async with running(allowed_origins=("https://Studio.example:443/",)) as server:
        models = await get(server, "/v1/models", {"origin": STUDIO})
        assert models.headers["access-control-allow-origin"] == STUDIO
        assert models.headers["vary"] == "Origin"
        thumbnail = models.json()[0]["inputs"]["scenes"][0]["thumbnail"]
        # as an <img> asks, without an origin
        shown = await get(server, thumbnail)
        assert shown.headers["cross-origin-resource-policy"] == "cross-origin"
        foreign = await get(server, "/v1/models", {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
        for path in ("/", "/health", "/v1/sessions", "/client/main.js"):
            other = await get(server, path, {"origin": STUDIO})
            assert "access-control-allow-origin" not in other.headers
            assert other.headers["cross-origin-resource-policy"] == "same-origin"


async def test_without_allowed_origins_nothing_is_shared() -> None:
    async with running() as server:
        models = await get(server, "/v1/models", {"origin": STUDIO})
    assert "access-control-allow-origin" not in models.headers
    assert models.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/v1/modelsx", "/v1/models.json", "/v1", "/v1/stream"])
def test_only_what_is_meant_is_shared(path: str) -> None:
    assert cross_origin_headers(path, STUDIO, ALLOWING) == {}
    assert cross_origin_headers("/v1/models", STUDIO.upper(), ALLOWING)
