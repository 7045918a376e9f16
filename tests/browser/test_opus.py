"""Sound as Opus, both ways, by the browser's own codecs."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser

from ..server.running import running
from ..variants import some_of
from .conftest import INSECURE_HOST
from .studio import mouth_rows, open_tab, studio_at
from .test_speech import mouth_over, tone


@pytest.mark.long
async def test_the_microphone_moves_the_mouth_as_opus(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http + "/?audio=opus") as studio:
        snapshot = await studio.until_playing()
        assert snapshot["sound"] == {"heardAs": "opus", "sentAs": "opus", "failures": 0}
        (stream,) = server.engine.streams
        assert stream.session.options.audio_codec == "opus"
        await studio.page.get_by_role("button", name="Talk").click()
        await studio.until(lambda s: s["stream"]["talking"], "talking")
        heights = await mouth_over(studio, 2.5)
        assert heights.max() >= 12 and heights.min() <= 6, "half a second of sound, half of silence"
        await studio.page.keyboard.press("t")
        await studio.until(lambda s: not s["stream"]["talking"], "silence")
        assert (await studio.snapshot())["speech"]["lost"] == 0


async def test_what_is_spoken_is_heard_in_step_with_the_picture(
    browser: Browser, tmp_path: Path
) -> None:
    async with running() as server, studio_at(browser, server.http + "/?audio=opus") as studio:
        await studio.until_playing()
        await studio.page.locator("#file-input").set_input_files(tone(tmp_path / "a.wav", 3.0))
        await studio.until(lambda s: s["speech"]["sound"], "sound")
        await studio.until_frame(lambda f: mouth_rows(f) >= 12, "the mouth")
        snapshot = await studio.until(lambda s: s["speech"]["heardUs"] is not None, "it is heard")
        apart_us = snapshot["speech"]["heardUs"] - snapshot["player"]["playheadUs"]
        assert abs(apart_us) < 150_000
        assert snapshot["sound"]["failures"] == 0


@pytest.mark.long
async def test_after_a_reload_the_voice_is_still_what_the_stream_was_opened_with(
    browser: Browser,
) -> None:
    async with running() as server, studio_at(browser, server.http + "/?audio=opus") as studio:
        await studio.until_playing()
        await studio.page.goto(server.http)
        snapshot = await studio.until_playing()
        assert snapshot["session"]["resumed"]
        assert snapshot["sound"]["sentAs"] == "opus" and snapshot["sound"]["heardAs"] == "pcm"
        await studio.page.get_by_role("button", name="Talk").click()
        await studio.until(lambda s: s["stream"]["talking"], "talking")


@pytest.mark.parametrize("kind", some_of(["3g", "4g"], "3g"))
async def test_a_slow_network_gets_opus_by_itself(
    browser: Browser, kind: str, tmp_path: Path
) -> None:
    host = INSECURE_HOST
    settings = {"allowed_hosts": (host,), "self_signed": True, "state_dir": tmp_path}
    async with running(**settings) as server:
        profile = await browser.new_context(ignore_https_errors=True)
        try:
            page = await profile.new_page()
            await page.add_init_script(
                "Object.defineProperty(Navigator.prototype, 'connection', "
                f"{{ get: () => ({{ effectiveType: '{kind}', saveData: false }}) }})"
            )
            studio = await open_tab(page, f"https://{host}:{server.port}")
            said = (await studio.until_playing())["sound"]
            wanted = "opus" if kind == "3g" else "pcm"
            assert (said["heardAs"], said["sentAs"]) == (wanted, wanted)
        finally:
            await profile.close()
