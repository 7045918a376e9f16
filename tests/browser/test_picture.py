"""What is shown is what was sent: every frame, its colours, its time."""

import numpy as np
import pytest
from playwright.async_api import Browser

from rollcast.models.test_pattern import prompt_colour

from ..server.running import running
from ..variants import some_of
from .studio import band_colour, studio_at


@pytest.mark.parametrize("codec", some_of(["h264", "vp8", "jpeg"], "h264"))
async def test_frames_shown_are_the_frames_sent(browser: Browser, codec: str) -> None:
    async with (
        running() as server,
        studio_at(browser, f"{server.http}/?codec={codec}&prompt=a+blue+wall") as studio,
    ):
        session = (await studio.until_playing())["session"]
        assert session["codec"] == codec
        seen = await studio.watch(50)
        assert [frame["number"] for frame in seen] == [frame["seq"] for frame in seen]
        tolerance = 8 if codec == "jpeg" else 4
        expected = prompt_colour("a blue wall")
        for frame in seen:
            np.testing.assert_allclose(frame["band"], expected, atol=tolerance)
        np.testing.assert_allclose(band_colour(await studio.frame()), expected, atol=tolerance)


@pytest.mark.long
async def test_frames_keep_their_order_and_their_time(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing(25)
        seen = await studio.watch(75)
        seqs = np.array([frame["seq"] for frame in seen])
        times_ms = np.array([frame["atMs"] for frame in seen])
        assert (np.diff(seqs) > 0).all()
        # On a busy machine a refresh may be late, the rate over three seconds may not.
        rate = (seqs[-1] - seqs[0]) / (times_ms[-1] - times_ms[0]) * 1000
        assert rate == pytest.approx(25, abs=1.0)
        assert np.median(np.diff(times_ms)) == pytest.approx(40, abs=12)
        late_ms = times_ms - seqs * 40
        assert np.percentile(np.abs(late_ms - np.median(late_ms)), 90) < 60


@pytest.mark.long
async def test_the_delay_stays_within_the_permitted_lead(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing(60)
        figures = (await studio.snapshot())["figures"]
        assert 0 < figures["latencyMs"] < 500
        assert figures["fps"] > 20
        assert figures["kbps"] > 30


async def test_the_enlargement_shows_the_same_picture(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        large = await studio.page.evaluate(
            """() => {
              const canvas = document.getElementById("picture");
              const { width, height } = canvas;
              const band = canvas.getContext("2d").getImageData(width / 2, height / 8, 1, 1).data;
              return { width, height, band: [...band.subarray(0, 3)] };
            }"""
        )
        assert (large["width"], large["height"]) == (512, 512)
        np.testing.assert_allclose(large["band"], prompt_colour("a red wall"), atol=5)


async def test_the_page_needs_nothing_from_elsewhere(browser: Browser) -> None:
    async with running() as server:
        context = await browser.new_context()
        page = await context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(server.http)
        await page.wait_for_selector("#status[data-state=live]")
        await context.close()
        assert asked
        assert all(url.startswith((server.http, "blob:", "data:")) for url in asked), asked
