"""A browser in a room: a real Chromium with the SDK that LiveKit has for it, and what it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from tests.browser.conftest import ARGUMENTS, chromium
from tests.client.livekit.room_server import PAGE
from tests.client.peers import ROOT

SDK = ROOT / "client/web/node_modules/livekit-client/dist/livekit-client.umd.js"
"""What `npm ci` installs in `client/web`."""
# addresses as they are: nobody answers for the names that hide them
_ARGUMENTS = [*ARGUMENTS, "--disable-features=WebRtcHideLocalIpsWithMdns"]
Report = dict[str, Any]


@asynccontextmanager
async def watching(url: str, token: str) -> AsyncIterator[Callable[[], Awaitable[Report]]]:
    """Joins the room before the block; what is given tells what was seen and heard so far."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        page = await browser.new_page()
        told: list[str] = []
        page.on("pageerror", lambda error: told.append(str(error)))
        await page.goto(url.replace("ws://", "http://") + PAGE)
        await page.add_script_tag(path=SDK)
        await page.add_script_tag(path=Path(__file__).with_name("viewer.js"))
        await page.evaluate("([url, token]) => join(url, token)", [url, token])

        async def report() -> Report:
            return {**await page.evaluate("seen"), "errors": told}

        try:
            yield report
        finally:
            await browser.close()


def summary(seen: Report, told: list[list[Any]], tones: tuple[int, ...], skew_s: float) -> Report:
    """What of the sentences that were `told` a browser heard; `skew_s`: its clock less theirs."""
    heard = [
        (at_s - skew_s, min(tones, key=lambda t: abs(t - hz))) for at_s, hz in seen["sound"] if hz
    ]
    numbers = [number for _, number in seen["frames"]]
    says = [each for each in told if each[1] == "say"]
    cuts = [each[0] for each in told if each[1] == "interrupt"]
    late = []
    for cut_s in cuts:
        before = [hz for at_s, hz in heard if at_s <= cut_s]
        after = [at_s - cut_s for at_s, hz in heard if before and hz == before[-1] and at_s > cut_s]
        late.append(1e3 * max(after, default=0.0))
    return {
        "kinds": sorted(seen["kinds"]),
        "frames": len(numbers),
        "backwards": sum(b < a for a, b in pairwise(numbers)),
        "span": max(numbers, default=0) - min(numbers, default=0),
        "heard": [hz for _, _, hz, _ in says if any(what == hz for _, what in heard)],
        "silent_ms": late,
        "errors": seen["errors"],
    }
