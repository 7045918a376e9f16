"""The Pipecat bot in a real Chromium: greets, says what is typed, falls silent."""

from __future__ import annotations

import asyncio
import os
import re

import pytest
from playwright.async_api import Page, async_playwright

from ..browser.conftest import ARGUMENTS, chromium
from ..client.peers import PYTHON, ROOT
from ..server.running import running

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not PYTHON.exists(), reason="make peers has not installed Pipecat"),
]

RECEIVED = """async () => {
  const all = [...(await peer.getStats()).values()].filter((one) => one.type === "inbound-rtp");
  const of = (kind) => all.find((one) => one.kind === kind) || {};
  return [of("video").framesDecoded || 0, of("audio").totalAudioEnergy || 0];
}"""


async def heard(page: Page, more_than: float) -> float:
    """Wait until more sound came than this, and then until no more comes."""
    async with asyncio.timeout(60):
        while (energy := (await page.evaluate(RECEIVED))[1]) <= more_than + 1e-4:
            await asyncio.sleep(0.1)
        while energy != (energy := (await page.evaluate(RECEIVED))[1]):
            await asyncio.sleep(0.7)
    return energy


async def test_a_bot_with_a_face_in_a_browser() -> None:
    async with running() as server:
        bot = await asyncio.create_subprocess_exec(
            *(str(PYTHON), "-P", str(ROOT / "examples" / "pipecat_bot.py")),
            *("--url", server.http, "--port", "0"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            assert bot.stdout is not None
            line = (await asyncio.wait_for(bot.stdout.readline(), 120)).decode()
            address = re.findall(r"http://\S+", line)[0]
            await _visit(address)
        finally:
            bot.terminate()
            await bot.wait()


async def _visit(address: str) -> None:
    # addresses as they are: nobody answers for the names that hide them
    arguments = [*ARGUMENTS, "--disable-features=WebRtcHideLocalIpsWithMdns"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=arguments)
        page = await browser.new_page()
        await page.goto(address)
        greeting = await heard(page, 0.0)
        await page.fill("#text", "one two three")
        await page.click("text=Say")
        await heard(page, greeting)
        async with asyncio.timeout(60):
            while (await page.evaluate(RECEIVED))[0] <= 50:
                await asyncio.sleep(0.1)
        await browser.close()
