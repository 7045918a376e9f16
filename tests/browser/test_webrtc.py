"""The page over WebRTC, on loopback: the same page does the same things, and falls back."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Browser

from ..server.running import running, until
from .conftest import INSECURE_HOST
from .studio import WAIT_S, band_colour, disc_at, mouth_rows, studio_at
from .test_speech import mouth_over

pytestmark = pytest.mark.peers
OVER = "/?transport=webrtc"

# Every 5 ms: whether the mouth is open on the canvas, and whether the element's sound is loud.
ONSETS = """async (seconds) => {
  const element = rollcast.peerElement();
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 256 });
  context.createMediaStreamSource(element.srcObject).connect(analyser);
  await context.resume();
  const samples = new Float32Array(256);
  const onsets = { seen: [], heard: [] };
  let open = true, loud = true, quietMs = 0, shutMs = 0;
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    const nowMs = performance.now();
    const { width, rgba } = rollcast.readFrame();
    let dark = 0;
    for (let row = 72; row < 104; row += 1) {
      const at = (row * width + 64) * 4;
      dark += rgba[at] + rgba[at + 1] + rgba[at + 2] < 130 ? 1 : 0;
    }
    analyser.getFloatTimeDomainData(samples);
    const peak = Math.max(...samples.map(Math.abs));
    if (dark >= 9 && !open && nowMs - shutMs > 200) onsets.seen.push(nowMs);
    if (dark < 9 && open) shutMs = nowMs;
    if (peak > 0.1 && !loud && nowMs - quietMs > 200) onsets.heard.push(nowMs);
    if (peak > 0.1) quietMs = nowMs;
    open = dark >= 9;
    loud = peak > 0.1 || nowMs - quietMs < 100;
  }
  return onsets;
}"""


async def test_the_page_does_all_it_does_over_webrtc(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http + OVER) as studio:
        snapshot = await studio.until_playing(20)
        assert snapshot["transport"] == "webrtc"
        assert snapshot["session"]["codec"] == "h264"
        ahead = [each["number"] - each["seq"] for each in await studio.watch(25)]
        # a browser may have gone on to the next frame while it tells of this one
        assert np.median(ahead) == 0 and set(ahead) <= {0, 1}, ahead
        await studio.page.locator("#prompt").fill("a blue wall")
        await studio.page.keyboard.press("Enter")
        await studio.until_frame(lambda f: band_colour(f)[2] > 150, "blue")
        await studio.page.mouse.move(*await studio.place(0.3, 0.6))
        await studio.page.mouse.down()
        await studio.page.mouse.move(*await studio.place(0.6, 0.4), steps=5)
        await studio.until_frame(lambda f: disc_at(f, 0.6, 0.4), "the disc under the pointer")
        await studio.page.mouse.up()
        await studio.until(lambda s: s["figures"]["kbps"] > 0 < s["figures"]["fps"], "figures")
        await studio.page.reload()
        snapshot = await studio.until_playing(5)
        assert snapshot["session"]["resumed"] and snapshot["transport"] == "webrtc"
        assert len(server.engine.streams) == 1
        await studio.page.get_by_role("button", name="End the stream").click()
        await until(lambda: not server.engine.streams)


async def test_speech_is_seen_and_heard_together_and_interrupted(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http + OVER) as studio:
        await studio.until_playing(10)
        await studio.page.get_by_role("button", name="Talk").click()
        await studio.until(lambda s: s["stream"]["talking"], "talking")
        heights = await mouth_over(studio, 2.5)
        assert heights.max() >= 12 and heights.min() <= 6
        await studio.page.keyboard.press("m")
        await studio.until(lambda s: s["speech"]["sound"], "sound")
        onsets = await studio.page.evaluate(ONSETS, 6.0)
        seen, heard = np.array(onsets["seen"]), np.array(onsets["heard"])
        assert len(seen) >= 4 and len(heard) >= 4, onsets
        apart_ms = [heard[np.abs(heard - at_ms).argmin()] - at_ms for at_ms in seen]
        # a busy machine draws some pictures late; sound that ran apart would do so in all of them
        assert min(map(abs, apart_ms)) <= 80, apart_ms
        for _ in range(3):
            await studio.until_frame(lambda f: mouth_rows(f) >= 12, "it speaks")
            await studio.page.keyboard.press("i")
            await studio.until_frame(lambda f: mouth_rows(f) <= 6, "it was interrupted")
        await studio.page.keyboard.press("t")
        await studio.until(lambda s: not s["stream"]["talking"], "silence")


async def test_where_webrtc_does_not_get_through_there_is_the_websocket(browser: Browser) -> None:
    async with (
        running() as server,
        studio_at(browser, server.http, expected_problems=True) as studio,
    ):
        snapshot = await studio.until_playing()
        assert snapshot["transport"] == "websocket", "which is quicker here"
        session = snapshot["session"]["session_id"]
        await studio.page.route("**/v1/whep", lambda route: route.abort())
        await studio.page.locator("#help").click()
        await studio.page.locator("#transport").select_option("webrtc")
        snapshot = await studio.until_playing()
        assert snapshot["transport"] == "websocket"
        assert snapshot["session"]["session_id"] == session
        await studio.page.unroute("**/v1/whep")
        await studio.page.locator("#transport").select_option("websocket")
        await studio.until_playing()
        await studio.page.locator("#transport").select_option("webrtc")
        snapshot = await studio.until(lambda s: s["transport"] == "webrtc", "WebRTC")
        snapshot = await studio.until_playing()
        assert snapshot["session"]["session_id"] == session, "the same stream all the way"


async def test_plain_http_gets_h264(browser: Browser) -> None:
    async with (
        running(allowed_hosts=(INSECURE_HOST,)) as server,
        studio_at(
            browser, f"http://{INSECURE_HOST}:{server.port}{OVER}", expected_problems=True
        ) as studio,
    ):
        assert not await studio.page.evaluate("isSecureContext || 'VideoDecoder' in self")
        snapshot = await studio.until_playing(5)
        assert (snapshot["transport"], snapshot["session"]["codec"]) == ("webrtc", "h264")


async def test_the_page_of_the_docs_sees_speaks_and_steers(
    browser: Browser, repository: Path
) -> None:
    text = (repository / "docs" / "webrtc.md").read_text()
    (script,) = re.findall(r"```js\n(.*?)```", text, re.DOTALL)
    async with running() as server:
        page = await (await browser.new_context()).new_page()
        try:
            await page.goto(f"{server.http}/health")
            await page.evaluate("document.body.replaceChildren(document.createElement('video'))")
            await page.evaluate(f"(async () => {{ {script} window.peer = peer; }})()")
            await until(lambda: len(server.engine.streams) == 1, 40)
            (stream,) = server.engine.streams
            await page.evaluate("document.querySelector('video').muted = true")
            await page.evaluate("document.querySelector('video').play()")
            async with asyncio.timeout(WAIT_S):
                while await page.evaluate("document.querySelector('video').currentTime") < 1:
                    await asyncio.sleep(0.1)
            assert stream.session.prompt == "a blue wall"
            await until(lambda: stream.session._ring.talking_at(1e15), 40)
            size = await page.evaluate(
                "[document.querySelector('video').videoWidth, peer.connectionState]"
            )
            assert size == [128, "connected"]
        finally:
            await page.context.close()
        await until(lambda: not stream.session.attached, 40)
