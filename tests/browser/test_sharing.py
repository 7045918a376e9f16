"""Letting others watch: the link of one page, and the page that it opens."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from playwright.async_api import Browser, expect

from rollcast.client import connect

from ..server.running import running
from .studio import studio_at


@pytest.mark.long
async def test_a_link_shows_the_stream_to_others_and_lets_them_do_nothing(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as own:
        await own.until_playing()
        await own.page.get_by_role("button", name="Let others watch").click()
        link = own.page.get_by_label("Link", exact=True)
        await expect(link).not_to_have_value("")
        address = await link.input_value()
        assert address.startswith(f"{server.http}/#watch=rc1.")
        async with studio_at(browser, address) as viewer:
            seen = await viewer.until_playing(10)
            assert seen["watching"] == {"only": True, "viewers": 1}
            assert seen["session"]["session_id"] == (await own.snapshot())["session"]["session_id"]
            frames = await viewer.watch(10)
            assert [frame["number"] for frame in frames] == [frame["seq"] for frame in frames]
            for name in ("Talk", "Pause", "End the stream", "Let others watch"):
                await expect(viewer.page.get_by_role("button", name=name)).to_be_hidden()
            await expect(viewer.page.locator("#prompt")).to_be_hidden()
            await expect(viewer.page.get_by_text("You are watching.")).to_be_visible()
            await expect(viewer.page.get_by_role("button", name="Sound")).to_be_visible()
            await viewer.page.keyboard.press("t")
            await viewer.page.keyboard.press(" ")
            await expect(own.page.get_by_text("1 person watches now.")).to_be_visible()
            await viewer.page.reload()
            await viewer.until_playing(5)
            await own.page.get_by_role("button", name="Stop sharing").click()
            title = viewer.page.locator("#curtain-title")
            await expect(title).to_have_text("The stream is over")
            await viewer.page.reload()
            await expect(title).to_have_text("This link is not good any more")
        assert not (await own.snapshot())["stream"]["paused"]


@pytest.mark.long
async def test_sound_is_played_at_the_rate_of_who_speaks(browser: Browser) -> None:
    """An agent speaks at 44.1 kHz over its own connection; a page watches and listens."""
    tone = (9_000 * np.sin(np.arange(44_100 * 20) * 0.06)).astype(np.int16)
    async with running() as server, connect(server.http, audio_rate=44_100) as agent:
        saying = asyncio.create_task(agent.say(tone))
        address = (await agent.share(60)).replace("/#", "/?audio=pcm#")
        async with studio_at(browser, address) as viewer:
            seen = await viewer.until_playing(5)
            assert seen["sound"]["heardAs"] == "pcm"
            assert seen["session"]["sample_rate"] == 44_100
            await viewer.page.keyboard.press("m")
            await viewer.until(lambda s: s["speech"]["sound"], "sound")
            first = (await viewer.until(lambda s: s["speech"]["heardUs"], "heard"))["speech"]
            later = first["heardUs"] + 2e6
            await viewer.until(lambda s: (s["speech"]["heardUs"] or 0) > later, "it goes on")
            now = await viewer.snapshot()
            # the sound is where the picture is
            assert abs(now["speech"]["heardUs"] - now["player"]["playheadUs"]) < 200_000
            assert now["speech"]["problem"] is None
        saying.cancel()
