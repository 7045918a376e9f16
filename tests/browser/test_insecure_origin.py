"""Plain http under another name than localhost: no WebCodecs, no microphone, no AudioWorklet."""

from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Browser, expect

from ..server.running import running
from .conftest import INSECURE_HOST
from .studio import disc_at, studio_at
from .test_speech import tone


async def test_video_falls_back_to_jpeg_and_says_why_there_is_no_microphone(
    browser: Browser,
) -> None:
    async with (
        running(allowed_hosts=(INSECURE_HOST,)) as server,
        studio_at(
            browser, f"http://{INSECURE_HOST}:{server.port}/", expected_problems=True
        ) as studio,
    ):
        assert not await studio.page.evaluate("isSecureContext || 'VideoDecoder' in self")
        session = (await studio.until_playing())["session"]
        assert session["codec"] == "jpeg"
        seen = await studio.watch(40)
        assert [frame["number"] for frame in seen] == [frame["seq"] for frame in seen]
        assert (await studio.snapshot())["figures"]["latencyMs"] < 500
        title = studio.page.locator("#mic-help-title")
        await expect(title).to_have_text("No microphone on a plain http address")
        await studio.page.locator("#talk").click()
        await expect(title).to_be_visible()
        await studio.page.mouse.move(*await studio.place(0.5, 0.6))
        await studio.page.mouse.down()
        await studio.until_frame(lambda f: disc_at(f, 0.5, 0.6), "the disc")
        assert all("Cross-Origin-Opener-Policy" in problem for problem in studio.problems)


@pytest.mark.long
async def test_an_audio_file_still_speaks_and_is_heard(browser: Browser, tmp_path: Path) -> None:
    async with (
        running(allowed_hosts=(INSECURE_HOST,)) as server,
        studio_at(
            browser, f"http://{INSECURE_HOST}:{server.port}/", expected_problems=True
        ) as studio,
    ):
        await studio.until_playing()
        await studio.page.locator("#file-input").set_input_files(tone(tmp_path / "a.wav", 4))
        await studio.until(lambda s: s["stream"]["talking"], "talking")
        await studio.until(lambda s: s["speech"]["heardUs"] is not None, "sound")
        skews_ms = []
        for _ in range(30):
            snapshot = await studio.snapshot()
            if snapshot["speech"]["heardUs"] is not None:
                heard_us, playhead_us = (
                    snapshot["speech"]["heardUs"],
                    snapshot["player"]["playheadUs"],
                )
                skews_ms.append((playhead_us - heard_us) / 1000)
        assert abs(float(np.median(skews_ms))) < 40
