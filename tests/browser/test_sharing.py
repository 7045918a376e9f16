"""Letting others watch: the link of one page, and the page that it opens."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

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
