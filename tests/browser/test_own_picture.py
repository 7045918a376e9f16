"""A picture of the viewer's own: chosen, dropped, pasted; placed by mouse, touch, keys; shown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from playwright.async_api import Browser, FilePayload, expect

from rollcast.models.test_pattern import TestPattern

from ..pictures import BLUE, RED, SKIN, Colour, encoded, face, portrait
from ..server.running import running
from .studio import Studio, studio_at
from .test_looks import DEVICES, SIZES, probe, schemes, sizes

MARK = 'document.getElementById("own-canvas").getContext("2d").getImageData(%s, 1, 1).data'

# A file that arrives by a drop or from the clipboard.
BRING = """([kind, data, type]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "me", { type }));
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
    : new DragEvent("drop", { ...options, dataTransfer: transfer });
  document.body.dispatchEvent(event);
  return event.defaultPrevented;
}"""


def file(picture: bytes, name: str = "me.jpg") -> FilePayload:
    return {"name": name, "mimeType": "image/jpeg", "buffer": picture}


def behind(frame: np.ndarray, colour: Colour) -> bool:
    """Whether the test pattern shows a `portrait` before this colour."""
    return bool(np.abs(frame[40:120, 4:12].reshape(-1, 3).mean(0) - colour).max() < 25)


async def chosen(studio: Studio, picture: bytes) -> None:
    """Choose a file, up to where it can be placed."""
    await studio.page.locator("#own-open").click()
    await studio.page.locator("#own-file").set_input_files(file(picture))
    await expect(studio.page.locator("#own-use")).to_be_enabled()


async def zoom(studio: Studio) -> float:
    return 2 ** float(await studio.page.locator("#own-zoom").input_value())


async def pixel(studio: Studio, x: int, y: int) -> np.ndarray:
    """A pixel of the crop tool, 640 a side."""
    seen: Any = await studio.page.evaluate(f"[...{MARK % f'{x}, {y}'}]")
    return np.array(seen[:3])


async def test_a_picture_is_chosen_shown_left_shown_again_and_there_after_a_reload(
    browser: Browser,
) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        page = studio.page
        await studio.until_playing()
        await expect(page.locator("#own-choice")).to_be_hidden()
        await chosen(studio, portrait(RED))
        await page.locator("#own-use").click()
        await studio.until_frame(lambda f: behind(f, RED), "the picture")
        await expect(page.locator("#own-dialog")).to_be_hidden()
        await expect(page.locator("#own-choice input")).to_be_checked()
        await expect(page.locator("#own-image")).to_be_visible()
        await expect(page.locator("#scene-now")).to_have_text("Your picture")
        await expect(page.locator("#drag-hint")).to_contain_text("turn the head")

        await page.locator(".scene[title=Grid]").click()
        await studio.until_frame(lambda f: not behind(f, RED), "the grid")
        await page.locator("#own-choice").click()
        await studio.until_frame(lambda f: behind(f, RED), "the picture again")

        await page.reload()
        await studio.until_playing()
        await studio.until_frame(lambda f: behind(f, RED), "the picture after a reload")
        await expect(page.locator("#own-choice input")).to_be_checked()
        stored = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert "base64" not in stored and len(stored) < 2000, "the browser keeps no picture"

        await page.locator("#end").click()
        await studio.until_state("ended")
        await page.locator("#curtain-action").click()
        await studio.until_playing()
        await expect(page.locator("#own-choice")).to_be_hidden()


@pytest.mark.parametrize("kind", ["drop", pytest.param("paste", marks=pytest.mark.long)])
async def test_a_picture_is_dropped_or_pasted_anywhere(browser: Browser, kind: str) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        data = base64.b64encode(portrait(RED)).decode()
        assert await studio.page.evaluate(BRING, [kind, data, "image/jpeg"])
        await expect(studio.page.locator("#own-use")).to_be_enabled()
        await studio.page.keyboard.press("Tab")
        await studio.page.locator("#own-use").click()
        await studio.until_frame(lambda f: behind(f, RED), "the picture")
        assert not await studio.page.evaluate(
            """() => {
              const transfer = new DataTransfer();
              transfer.setData("text/plain", "words");
              const options = { bubbles: true, cancelable: true, clipboardData: transfer };
              const event = new ClipboardEvent("paste", options);
              document.getElementById("prompt").dispatchEvent(event);
              return event.defaultPrevented;
            }"""
        ), "words are pasted as ever"


async def test_what_is_no_picture_is_said_where_one_looks(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        words = base64.b64encode(b"hello").decode()
        await studio.page.evaluate(BRING, ["drop", words, "text/plain"])
        await expect(studio.page.locator(".notice")).to_contain_text("no picture")
        await expect(studio.page.locator("#own-dialog")).to_be_hidden()
        await studio.page.locator("#own-open").click()
        await studio.page.locator("#own-file").set_input_files(file(b"hello"))
        await expect(studio.page.locator("#own-say")).to_contain_text("no picture")
        await expect(studio.page.locator("#own-use")).to_be_disabled()


@pytest.mark.long
async def test_it_is_placed_by_mouse_wheel_and_keys(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        page = studio.page
        await studio.until_playing()
        await chosen(studio, portrait(RED))
        box = await page.locator("#own-window").bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        assert np.abs(await pixel(studio, 20, 320) - RED).max() < 12
        await page.mouse.move(*middle)
        await page.mouse.wheel(0, -400)
        enlarged = await zoom(studio)
        assert enlarged > 1.5
        # what was in the middle of the left edge is out of sight: skin there
        await page.mouse.down()
        await page.mouse.move(middle[0] - box["width"] * 0.3, middle[1], steps=5)
        await page.mouse.up()
        assert np.abs(await pixel(studio, 20, 360) - SKIN).max() < 20
        await expect(page.locator("#own-window")).to_be_focused()
        for _ in range(12):
            await page.keyboard.press("Shift+ArrowRight")
        await page.keyboard.press("-")
        assert await zoom(studio) < enlarged
        assert np.abs(await pixel(studio, 20, 320) - RED).max() < 12
        for _ in range(40):
            await page.keyboard.press("-")
        assert await zoom(studio) == pytest.approx(0.5)
        await page.locator("#own-zoom").fill("2")
        assert await zoom(studio) == pytest.approx(4)
        await page.keyboard.press("Escape")
        await expect(page.locator("#own-dialog")).to_be_hidden()
        await page.locator("#own-open").click()
        await expect(page.locator("#own-canvas")).to_be_hidden()


@pytest.mark.long
async def test_two_fingers_zoom(browser: Browser) -> None:
    async with (
        running() as server,
        studio_at(browser, server.http, **SIZES["phone"]) as studio,
    ):
        await studio.until_playing()
        await chosen(studio, portrait(RED))
        touch = await studio.page.context.new_cdp_session(studio.page)
        box = await studio.page.locator("#own-window").bounding_box()
        assert box is not None

        async def fingers(kind: str, *shares: float) -> None:
            points = [
                {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2, "id": k}
                for k, share in enumerate(shares)
            ]
            await touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        await fingers("touchStart", 0.4, 0.6)
        await fingers("touchMove", 0.35, 0.65)
        await fingers("touchMove", 0.3, 0.7)
        await fingers("touchEnd")
        assert await zoom(studio) == pytest.approx(2, abs=0.1)
        await studio.page.locator("#own-use").click()
        await studio.until_frame(lambda f: not behind(f, RED), "the face, enlarged")
        await studio.until(lambda s: s["stream"]["scene"] == "picture", "its scene")


@pytest.mark.long
async def test_a_wide_photograph_is_cut_as_it_was_placed(browser: Browser) -> None:
    wide = face(300, RED).resize((300, 300))
    canvas = face(300, BLUE).resize((900, 300))
    canvas.paste(wide, (600, 0))
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await chosen(studio, encoded(canvas, "PNG"))
        for key, times in (("Shift+ArrowLeft", 16), ("ArrowLeft", 4)):
            for _ in range(times):
                await studio.page.keyboard.press(key)
        await studio.page.locator("#own-use").click()
        await studio.until_frame(lambda f: behind(f, RED), "the right third")


@pytest.mark.long
async def test_a_head_at_the_edge_can_be_placed_and_its_surroundings_go_on(
    browser: Browser,
) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await chosen(studio, portrait(RED))
        for _ in range(5):
            await studio.page.keyboard.press("Shift+ArrowDown")
        for place in ((20, 20), (320, 20), (620, 150)):
            red, _, blue = await pixel(studio, *place)
            assert red > blue + 100, place
        assert np.abs(await pixel(studio, 320, 620) - RED).max() > 40


@pytest.mark.long
async def test_a_model_without_pictures_offers_none(browser: Browser) -> None:
    model = TestPattern()
    model.info = replace(model.info, inputs=replace(model.info.inputs, picture=None))
    async with running(lambda: [model]) as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await expect(studio.page.locator("#own-open")).to_be_hidden()
        data = base64.b64encode(portrait(RED)).decode()
        assert not await studio.page.evaluate(BRING, ["paste", data, "image/jpeg"])


@pytest.mark.parametrize(
    "screens",
    [
        pytest.param(screens, id=name, marks=[] if name == "touch" else [pytest.mark.long])
        for name, screens in DEVICES.items()
    ],
)
async def test_the_crop_tool_fits_and_can_be_read(browser: Browser, screens: Sequence[str]) -> None:
    options = SIZES[screens[0]]
    async with running() as server, studio_at(browser, server.http, **options) as studio:
        await studio.until_playing()
        await studio.page.locator("#own-open").click()
        for placing in (False, True):
            if placing:
                await studio.page.locator("#own-file").set_input_files(file(portrait(RED)))
                await expect(studio.page.locator("#own-use")).to_be_enabled()
            async for screen in sizes(studio, screens):
                async for scheme in schemes(studio):
                    for question, wanted in (
                        ("overflowing", {"wide": False, "out": []}),
                        ("lowContrast", []),
                        ("nameless", []),
                    ):
                        answer = await probe(studio, question)
                        assert answer == wanted, (question, placing, screen, scheme)
                window = await studio.page.locator("#own-window").bounding_box()
                assert window is not None
                assert abs(window["width"] - window["height"]) < 2 and window["width"] >= 195
