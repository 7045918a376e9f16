"""Browsers that forbid, devices that vanish, proxies that cut: the page says what is wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Browser, Dialog, expect

from ..client.test_address import listening, prefix_proxy
from ..server.running import running
from .studio import open_tab, studio_at

INPUTS = Path(__file__).parents[1] / "fixtures" / "inputs"

NO_STORAGE = """for (const name of ["localStorage", "sessionStorage"]) {
  Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
}"""
NO_PROBE = "VideoDecoder.isConfigSupported = () => Promise.reject(new TypeError('not known'));"
# The page's own crop tool, over what an earlier picture left on its canvas.
CROP = """async () => {
  const { drawPlaced, cutOut } = await import("/client/input/crop-canvas.js");
  const { Crop } = await import("/client/input/crop.js");
  const picture = await createImageBitmap(await (await fetch("/alpha.png")).blob());
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, 64, 64);
  const crop = new Crop(picture.width, picture.height);
  drawPlaced(canvas, picture, crop);
  crop.zoomTo(0.5);
  drawPlaced(canvas, picture, crop);
  const at = (x, y) => [...context.getImageData(x, y, 1, 1).data];
  const placed = [at(2, 2), at(32, 18), at(32, 40)];
  const sent = new Image();
  sent.src = cutOut(picture, new Crop(64, 64), 64);
  await sent.decode();
  context.drawImage(sent, 0, 0);
  return { placed, sent: at(1, 1) };
}"""


@pytest.mark.long
async def test_the_page_works_without_any_storage(browser: Browser) -> None:
    async with running(token="s+3") as server, studio_at(browser, "about:blank") as studio:
        await studio.page.context.add_init_script(NO_STORAGE)
        tab = await open_tab(await studio.page.context.new_page(), f"{server.http}/#token=s+3")
        await tab.until_playing()
        await tab.page.locator("#prompt").fill("a red wall")
        await tab.page.locator("#prompt-send").click()
        await tab.until_playing()
        assert not tab.problems


async def test_a_browser_that_refuses_to_say_what_it_decodes_gets_jpeg(browser: Browser) -> None:
    async with running() as server, studio_at(browser, "about:blank") as studio:
        await studio.page.context.add_init_script(NO_PROBE)
        tab = await open_tab(
            await studio.page.context.new_page(), server.http + "/?transport=websocket"
        )
        assert (await tab.until_playing())["session"]["codec"] == "jpeg"


async def test_a_proxy_that_strips_upgrade_is_told_of(browser: Browser) -> None:
    async with (
        running() as server,
        listening(prefix_proxy(server, strips="upgrade:")) as port,
        studio_at(browser, f"http://127.0.0.1:{port}/prefix/", expected_problems=True) as studio,
    ):
        title = studio.page.locator("#curtain-title")
        await expect(title).to_contain_text("a WebSocket does not get through", timeout=20_000)
        await expect(studio.page.locator("#curtain-detail")).to_contain_text("Upgrade")


@pytest.mark.long
async def test_a_page_that_records_asks_before_it_is_left(browser: Browser) -> None:
    asked: list[str] = []

    async def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        studio.page.on("dialog", stay)
        await studio.page.keyboard.press("r")
        await studio.until(lambda s: s["recording"], "recording")
        await studio.page.close(run_before_unload=True)
        async with asyncio.timeout(20):
            while not asked:
                await asyncio.sleep(0.05)
        assert asked == ["beforeunload"]
        async with studio.page.expect_download():
            await studio.page.keyboard.press("r")
        await studio.until(lambda s: not s["recording"], "saved")
        await studio.page.reload()
        assert asked == ["beforeunload"]
        await studio.until_playing()


async def test_a_microphone_that_is_unplugged_or_muted_says_so(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        # keep hold of what the page opens
        await studio.page.evaluate("""() => {
          const { mediaDevices } = navigator;
          const open = mediaDevices.getUserMedia.bind(mediaDevices);
          mediaDevices.getUserMedia = async (wanted) => {
            window.wanted = wanted;
            return (window.opened = await open(wanted));
          };
        }""")
        title = studio.page.locator("#mic-help-title")
        await studio.page.keyboard.press("t")
        await studio.until(lambda s: s["speech"]["talking"], "talking")
        track = "window.opened.getAudioTracks()[0]"
        await studio.page.wait_for_function("!!window.opened?.getAudioTracks()[0].onmute")
        muted = f"Object.defineProperty({track}, 'muted', {{ value: %s, configurable: true }})"
        await studio.page.evaluate(muted % "true")
        await studio.page.evaluate(f"{track}.onmute()")
        await expect(title).to_have_text("The microphone gives no sound")
        await studio.page.evaluate(muted % "false")
        await studio.page.evaluate(f"{track}.onunmute()")
        await expect(title).to_be_hidden()
        await studio.page.evaluate(f"{track}.onended()")
        await expect(title).to_have_text("The microphone is gone")
        assert not (await studio.snapshot())["speech"]["talking"]
        # Chromium's fake devices are several: another one can be chosen, and is used at once
        choice = studio.page.locator("#mic-device")
        await expect(choice).to_be_visible()
        other = await choice.locator("option").last.get_attribute("value")
        await choice.select_option(other)
        await studio.until(lambda s: s["speech"]["talking"], "talking again")
        assert await studio.page.evaluate("window.wanted.audio.deviceId.ideal") == other
        await expect(title).to_be_hidden()


@pytest.mark.long
async def test_letters_of_another_alphabet_are_keys_by_their_place(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.evaluate("""() => document.body.dispatchEvent(
          new KeyboardEvent("keydown", { key: "\u0435", code: "KeyT", bubbles: true }))""")
        await studio.until(lambda s: s["speech"]["talking"], "talking")


async def test_transparent_parts_are_light_grey_while_a_picture_is_placed_and_after(
    browser: Browser,
) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.page.route(
            "**/alpha.png", lambda route: route.fulfill(path=INPUTS / "alpha.png")
        )
        seen = await studio.page.evaluate(CROP)
        for pixel in (seen["placed"][0], seen["placed"][1], seen["sent"]):
            assert np.abs(np.array(pixel[:3]) - 200).max() <= 8
        assert np.abs(np.array(seen["placed"][2][:3]) - 200).max() > 8, "the face is there"


async def test_words_of_the_first_prompt_and_other_scripts_are_shown(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        prompt = studio.page.locator("#prompt")
        await prompt.fill("امرأة مبتسمة")
        direction = "element => getComputedStyle(element).direction"
        assert await prompt.evaluate(direction) == "rtl"
        await prompt.fill("a wall")
        assert await prompt.evaluate(direction) == "ltr"
