"""Films that the server makes, in a browser: the page's button, and both kinds played."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from ..server.running import running, viewing
from .studio import studio_at

pytestmark = pytest.mark.long

PLAY = """async ([data, type]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const video = document.createElement("video");
  video.muted = true;
  video.src = URL.createObjectURL(new Blob([bytes], { type }));
  document.body.append(video);
  await video.play();
  await new Promise((done, fail) => {
    video.ontimeupdate = () => video.currentTime > 0.3 && done();
    video.onerror = () => fail(new Error(video.error?.message));
  });
  const { videoWidth, videoHeight, webkitAudioDecodedByteCount, webkitDecodedFrameCount } = video;
  video.remove();
  return { videoWidth, videoHeight, webkitAudioDecodedByteCount, webkitDecodedFrameCount };
}"""


async def plays(page: Page, film: bytes, kind: str) -> None:
    shown = await page.evaluate(PLAY, [base64.b64encode(film).decode(), f"video/{kind}"])
    assert (shown["videoWidth"], shown["videoHeight"]) == (128, 128)
    assert shown["webkitAudioDecodedByteCount"] > 0 and shown["webkitDecodedFrameCount"] > 5


async def test_a_clip_is_saved_and_plays(browser: Browser) -> None:
    async with running(clip_s=5.0) as server, studio_at(browser, server.http) as own:
        await own.until_playing(40)
        button = own.page.get_by_role("button", name="Save the last 5 seconds")
        await expect(button).to_be_visible()
        async with own.page.expect_download() as coming:
            await button.click()
        saved = await (await coming.value).path()
        assert (await coming.value).suggested_filename == "rollcast-clip.mp4"
        await plays(own.page, Path(saved).read_bytes(), "mp4")


async def test_a_recording_as_webm_plays(browser: Browser, tmp_path: Path) -> None:
    async with running(recordings_dir=tmp_path, recordings_asked=True) as server:
        async with viewing(server.ws) as viewer:
            await viewer.say("session.record", event_id="a", on=True, format="webm")
            await viewer.wait_frames(60)
            await viewer.say("session.record", event_id="b", on=False)
            await viewer.wait_message(lambda m: m.get("event_id") == "b")
        (film,) = tmp_path.iterdir()
        async with studio_at(browser, server.http) as own:
            await own.until_playing()
            await expect(own.page.locator("#clip")).to_be_hidden()
            await plays(own.page, film.read_bytes(), "webm")
