"""The page before a fleet: a gateway shows what a server does, over TLS as well, and a replica that
is lost is no more than a pause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from ..server.fleet.neighbours import neighbours
from .studio import Studio, studio_at

pytestmark = pytest.mark.long


async def check_goes_on(studio: Studio, before: dict[str, Any]) -> None:
    """The same stream, by its numbers, and as far as the page knows over the same connection."""
    seen = await studio.watch(30)
    assert [frame["number"] for frame in seen] == [frame["seq"] for frame in seen]
    after = await studio.snapshot()
    assert after["session"]["session_id"] == before["session"]["session_id"]
    assert not after["session"]["resumed"] and after["status"]["state"] == "live"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_lost_and_a_drained_replica_are_a_pause(
    browser: Browser, tmp_path: Path, tls: bool
) -> None:
    public = {"self_signed": True, "state_dir": tmp_path} if tls else {}
    async with neighbours(3, public=public) as fleet:
        gateway = fleet.gateway
        url = f"https://127.0.0.1:{gateway.port}" if tls else gateway.http
        async with studio_at(browser, url, ignore_https_errors=tls) as studio:
            before = await studio.until_playing(20)
            await studio.page.get_by_role("button", name="Talk").click()
            await studio.until(lambda s: s["stream"]["talking"], "talking")
            fleet.kill(fleet.of(before["session"]["session_id"]))
            await studio.until(lambda _: gateway.gateway.moves.failures == 1, "a move")
            await check_goes_on(studio, before)
            await studio.until(lambda s: s["stream"]["talking"], "talking again")
            gateway.directory.ledger.drain(fleet.of(before["session"]["session_id"]))
            await studio.until(lambda _: gateway.gateway.moves.planned == 1, "a planned move")
            await check_goes_on(studio, before)
            await studio.page.reload()
            after = await studio.until_playing()
            assert after["session"]["session_id"] == before["session"]["session_id"]
            assert after["session"]["resumed"]
