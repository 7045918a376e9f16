"""The page follows the model: its shape, words first, a start image, a camera, the user's video."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Browser, FilePayload, Page, expect

from rollcast.models.contract import (
    CameraInput,
    ImageInput,
    ModelInputs,
    PromptInput,
    TracksInput,
    VideoInput,
)
from rollcast.models.test_pattern import TestPattern, prompt_colour

from ..server.running import running
from ..server.world_pattern import HEIGHT, PROMPTS, WIDTH, WorldPattern
from ..variants import some_of
from .studio import Studio, studio_at
from .test_looks import SIZES, probe, schemes, sizes
from .test_own_picture import BRING

WORDS = ModelInputs(prompt=PromptInput(PROMPTS))
IMAGE = replace(WORDS, image=ImageInput(WIDTH, HEIGHT))
REQUIRED = replace(WORDS, image=ImageInput(WIDTH, HEIGHT, required=True))
CAMERA = replace(IMAGE, camera=CameraInput("6dof"))
VIDEO = replace(WORDS, video=VideoInput(WIDTH, HEIGHT, 16))
KINDS = {"words": WORDS, "image": IMAGE, "camera": CAMERA, "video": VIDEO}
SHAPES = [(832, 480), (480, 832), (1280, 704)]
RED, BLUE = (200, 40, 40), (40, 60, 200)

# How much the page has moved by itself since it was opened.
WATCH_SHIFTS = """
window.shifted = [];
new PerformanceObserver((list) => {
  for (const { value, sources } of list.getEntries()) {
    window.shifted.push([value, sources.map(({ node }) => node?.id || node?.className)]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""


@asynccontextmanager
async def world(
    browser: Browser, inputs: ModelInputs, *, path: str = "/", model: Any = None, **context: Any
) -> AsyncIterator[Studio]:
    """The page before a world of this kind."""
    made = model or WorldPattern(inputs)
    async with (
        running(lambda: [made], models=(made.info.name,)) as server,
        studio_at(browser, server.http + path, **context) as studio,
    ):
        yield studio


def jpeg(left: tuple[int, int, int], right: tuple[int, int, int] | None = None) -> bytes:
    image = Image.new("RGB", (WIDTH * 3, HEIGHT * 3), left)
    if right is not None:
        image.paste(right, (WIDTH * 3 // 2, 0, WIDTH * 3, HEIGHT * 3))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def file(picture: bytes) -> FilePayload:
    return {"name": "start.jpg", "mimeType": "image/jpeg", "buffer": picture}


def shows(frame: np.ndarray, colour: tuple[float, ...]) -> bool:
    """Whether the middle of the left half has this colour."""
    seen = frame[HEIGHT // 2 - 8 : HEIGHT // 2 + 8, 20:50].reshape(-1, 3).mean(0)
    return bool(np.abs(seen - np.array(colour)).max() < 30)


def forward(frame: np.ndarray) -> int:
    """How far the camera has come forward, in pixels."""
    return int((frame[-4, :, 1] > 127).sum())


# Its shape.


@pytest.mark.parametrize(
    "screens",
    some_of([("phone", "sideways"), ("desktop",)], ("phone", "sideways")),
    ids=lambda s: s[0],
)
@pytest.mark.parametrize(
    "size",
    # the widest
    some_of(SHAPES, (1280, 704)),
    ids=lambda size: f"{size[0]}x{size[1]}",
)
async def test_the_picture_has_the_models_shape_and_fits(
    browser: Browser, size: tuple[int, int], screens: Sequence[str]
) -> None:
    model = WorldPattern(WORDS, width=size[0], height=size[1], fps=4)
    async with world(browser, WORDS, model=model, **SIZES[screens[0]]) as studio:
        await studio.until_playing(2)
        frame = await studio.frame()
        assert frame.shape == (size[1], size[0], 3)
        async for screen in sizes(studio, screens):
            stage = await studio.page.locator("#stage").bounding_box()
            assert stage is not None
            assert stage["width"] / stage["height"] == pytest.approx(size[0] / size[1], rel=0.01)
            window = SIZES[screen]["viewport"]
            assert stage["x"] >= 0 and stage["x"] + stage["width"] <= window["width"] + 0.5
            assert stage["y"] + stage["height"] <= window["height"], "all of it in view"
            assert await probe(studio, "overflowing") == {"wide": False, "out": []}


async def test_a_page_that_was_here_before_does_not_jump(browser: Browser) -> None:
    model = WorldPattern(CAMERA, width=832, height=480, fps=4)
    async with world(browser, CAMERA, model=model, **SIZES["desktop"]) as studio:
        await studio.until_playing(1)
        before = await studio.page.locator("#stage").bounding_box()
        await studio.page.add_init_script(WATCH_SHIFTS)
        await studio.page.reload()
        await studio.until_playing(1)
        assert await studio.page.locator("#stage").bounding_box() == before
        shifted = await studio.page.evaluate("window.shifted")
        assert sum(value for value, _ in shifted) < 0.01, shifted


async def test_another_model_brings_its_own_shape_and_layout(browser: Browser) -> None:
    tall = WorldPattern(WORDS, name="tall", width=240, height=416, fps=8)
    async with (
        running(lambda: [TestPattern(), tall], models=("test-pattern", "tall")) as server,
        studio_at(browser, server.http) as studio,
    ):
        page = studio.page
        await studio.until_playing()
        await expect(page.locator("body")).to_have_attribute("data-lead", "")
        await expect(page.locator("#talk")).to_be_visible()
        await page.locator("#model").select_option("tall")
        await studio.until(
            lambda s: (s["session"] or {}).get("model") == "tall" and s["player"]["shown"] > 0,
            "the tall model",
        )
        await expect(page.locator("body")).to_have_attribute("data-lead", "prompt")
        await expect(page.locator("#talk")).to_be_hidden()
        stage = await page.locator("#stage").bounding_box()
        assert stage is not None
        assert stage["width"] / stage["height"] == pytest.approx(240 / 416, rel=0.01)


# Words first, and only what the model has.

OWN = {
    "words": ("#prompt",),
    "image": ("#prompt", "#image-choose"),
    "camera": ("#prompt", "#image-choose", "#camera-pads"),
    "video": ("#prompt", "#webcam-toggle"),
}
ALL = ("#prompt", "#image-choose", "#camera-pads", "#webcam-toggle", "#talk", "#scenes", "#anchor")


@pytest.mark.parametrize("kind", some_of(KINDS, "camera", "video"))
async def test_only_what_the_model_has_is_there(browser: Browser, kind: str) -> None:
    async with world(browser, KINDS[kind]) as studio:
        await studio.until_playing()
        for part in ALL:
            there = expect(studio.page.locator(part))
            await (there.to_be_visible() if part in OWN[kind] else there.to_be_hidden())
        await studio.page.keyboard.press("?")
        keys = await studio.page.locator("#help-dialog .keys > div:visible").all_inner_texts()
        said = " ".join(keys)
        assert ("Move the camera" in said) == (kind == "camera")
        assert ("copied image" in said) == (kind in ("image", "camera"))
        assert "Talk" not in said and "Pin a point" not in said


@pytest.mark.long
async def test_words_have_the_room_and_their_examples_can_be_read_and_pressed(
    browser: Browser,
) -> None:
    for screen in ("desktop", "phone"):
        async with world(browser, WORDS, **SIZES[screen]) as studio:
            page = studio.page
            await studio.until_playing()
            box = await page.locator("#prompt").bounding_box()
            assert box is not None and box["height"] >= 160
            for text in PROMPTS:
                example = page.locator("#presets .preset", has_text=text)
                cut = "(node) => node.scrollWidth > node.clientWidth + 1"
                assert not await example.evaluate(cut), text
            await page.locator("#presets .preset", has_text=PROMPTS[1]).click()
            await studio.until_frame(
                lambda f: bool(np.abs(f[12, 40] - np.array(prompt_colour(PROMPTS[1]))).max() < 40),
                "the example",
            )
            await expect(page.locator("#prompt")).to_have_value(PROMPTS[1])


@pytest.mark.parametrize(
    "screens",
    some_of([("phone", "sideways"), ("desktop", "tablet")], ("phone", "sideways")),
    ids=lambda s: s[0],
)
@pytest.mark.parametrize(
    "kind",
    # a camera has all that words and an image have
    some_of(["camera", "video", "words", "image"], "camera"),
)
async def test_every_kind_fits_and_can_be_read(
    browser: Browser, kind: str, screens: Sequence[str]
) -> None:
    async with world(browser, KINDS[kind], **SIZES[screens[0]]) as studio:
        await studio.until_playing()
        if kind == "video":
            await studio.page.locator("#webcam-toggle").click()
            await studio.until(lambda s: s["webcam"]["sent"] > 0, "frames of the camera")
        async for screen in sizes(studio, screens):
            async for scheme in schemes(studio):
                for question, wanted in (
                    ("overflowing", {"wide": False, "out": []}),
                    ("lowContrast", []),
                    ("nameless", []),
                ):
                    assert await probe(studio, question) == wanted, (question, screen, scheme)


# The camera.


async def motion(studio: Studio) -> list[float]:
    now = (await studio.snapshot())["camera"]
    return [*now["translation"], *now["rotation"]]


STILL = [0.0] * 6


@pytest.mark.long
async def test_keys_move_the_camera_while_they_are_held(browser: Browser) -> None:
    async with world(browser, CAMERA) as studio:
        page = studio.page
        await studio.until_playing()
        await page.keyboard.down("w")
        await page.keyboard.down("ArrowRight")
        assert await motion(studio) == [0, 0, 0.4, 0, 30, 0]
        await studio.until_frame(lambda f: forward(f) > 12, "forward")
        await page.keyboard.up("w")
        await page.keyboard.up("ArrowRight")
        assert await motion(studio) == STILL
        await page.wait_for_timeout(700)
        reached = forward(await studio.frame())
        await page.wait_for_timeout(500)
        assert abs(forward(await studio.frame()) - reached) <= 2, "it stands"
        await page.keyboard.down("s")
        await studio.until_frame(lambda f: forward(f) < reached - 8, "back")
        await page.keyboard.up("s")
        assert await page.evaluate("scrollY") == 0


@pytest.mark.long
async def test_the_place_of_a_key_counts_and_not_its_letter(browser: Browser) -> None:
    async with world(browser, CAMERA) as studio:
        await studio.until_playing()
        for code, key, axis in (("KeyW", "z", 2), ("KeyA", "q", 0), ("KeyQ", "й", 1)):
            press = f"{{ code: '{code}', key: '{key}', bubbles: true, cancelable: true }}"
            down = f"document.body.dispatchEvent(new KeyboardEvent('keydown', {press}))"
            assert not await studio.page.evaluate(down), "nobody else gets it"
            assert (await motion(studio))[axis] != 0, code
            await studio.page.evaluate(down.replace("keydown", "keyup"))
            assert await motion(studio) == STILL


async def test_who_writes_moves_nothing_and_who_goes_away_stops(browser: Browser) -> None:
    async with world(browser, CAMERA) as studio:
        page = studio.page
        await studio.until_playing()
        await page.keyboard.down("w")
        await page.locator("#prompt").focus()
        assert await motion(studio) == STILL, "the field was entered"
        await page.keyboard.up("w")
        await page.locator("#prompt").fill("")
        await page.keyboard.type("wasd qe")
        await page.keyboard.press("ArrowLeft")
        assert await motion(studio) == STILL
        await expect(page.locator("#prompt")).to_have_value("wasd qe")
        await page.locator("#prompt").blur()
        await page.keyboard.down("d")
        assert await motion(studio) != STILL
        await page.evaluate("window.dispatchEvent(new Event('blur'))")
        assert await motion(studio) == STILL
        await page.keyboard.up("d")
        await page.keyboard.press("?")
        await page.keyboard.down("w")
        assert await motion(studio) == STILL, "a dialog is open"
        await page.keyboard.up("w")
        await page.keyboard.press("Escape")
        await page.locator("#transition").focus()
        await page.keyboard.press("ArrowRight")
        assert await motion(studio) == STILL
        await expect(page.locator("#transition-text")).to_contain_text("over")


async def test_single_keys_that_are_switched_off_work_in_the_picture_only(browser: Browser) -> None:
    async with world(browser, CAMERA) as studio:
        page = studio.page
        await studio.until_playing()
        await page.keyboard.press("?")
        await page.locator("#single-keys").uncheck()
        await page.keyboard.press("Escape")
        await page.locator("#help").evaluate("(node) => node.blur()")
        await page.keyboard.down("w")
        assert await motion(studio) == STILL
        await page.keyboard.up("w")
        await page.locator("#stage").focus()
        await page.keyboard.down("w")
        assert await motion(studio) != STILL
        await page.keyboard.up("w")


@pytest.mark.long
async def test_a_camera_that_goes_by_keys_has_no_up_and_down(browser: Browser) -> None:
    inputs = replace(CAMERA, camera=CameraInput("wasd"))
    async with world(browser, inputs) as studio:
        await studio.until_playing()
        await expect(studio.page.get_by_label("Move up")).to_be_hidden()
        await expect(studio.page.get_by_label("Move forward")).to_be_visible()
        await studio.page.keyboard.down("e")
        assert await motion(studio) == STILL
        await studio.page.keyboard.up("e")


async def test_arrows_move_the_cursor_in_the_picture_where_there_are_tracks(
    browser: Browser,
) -> None:
    inputs = replace(CAMERA, tracks=TracksInput(4))
    async with world(browser, inputs) as studio:
        await studio.until_playing()
        await studio.page.locator("#stage").focus()
        await studio.page.keyboard.down("ArrowRight")
        assert await motion(studio) == STILL
        await studio.page.keyboard.up("ArrowRight")
        await studio.page.locator("#stage").blur()
        await studio.page.keyboard.down("ArrowRight")
        assert await motion(studio) != STILL
        await studio.page.keyboard.up("ArrowRight")


async def centre(page: Page, name: str) -> dict[str, float]:
    box = await page.get_by_label(name, exact=True).bounding_box()
    assert box is not None
    return {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}


async def test_two_thumbs_move_and_look(browser: Browser) -> None:
    async with world(browser, CAMERA, **SIZES["phone"]) as studio:
        await studio.until_playing()
        touch = await studio.page.context.new_cdp_session(studio.page)
        places = [await centre(studio.page, name) for name in ("Move forward", "Look left")]
        for place in places:
            assert 0 < place["x"] < 360

        async def fingers(kind: str, *ids: int) -> None:
            points = [{**places[each], "id": each} for each in ids]
            await touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        await fingers("touchStart", 0)
        await fingers("touchStart", 0, 1)
        assert await motion(studio) == [0, 0, 0.4, 0, -30, 0]
        await fingers("touchEnd", 1)
        assert await motion(studio) == [0, 0, 0.4, 0, 0, 0], "the other one was lifted"
        await fingers("touchEnd")
        assert await motion(studio) == STILL
        await studio.page.locator("#camera-speed").fill("1")
        await expect(studio.page.locator("#camera-speed-text")).to_have_text("2×")


async def test_the_buttons_work_by_keyboard_and_by_a_bare_click(browser: Browser) -> None:
    async with world(browser, CAMERA) as studio:
        page = studio.page
        await studio.until_playing()
        await page.get_by_label("Move forward", exact=True).focus()
        await page.keyboard.down("Enter")
        assert await motion(studio) == [0, 0, 0.4, 0, 0, 0]
        await page.keyboard.up("Enter")
        assert await motion(studio) == STILL
        await page.get_by_label("Look up", exact=True).evaluate("(node) => node.click()")
        assert await motion(studio) == [0, 0, 0, 30, 0, 0]
        await page.wait_for_timeout(600)
        assert await motion(studio) == STILL


@pytest.mark.long
async def test_a_reload_stops_a_camera_that_moved(browser: Browser) -> None:
    async with world(browser, CAMERA) as studio:
        await studio.until_playing()
        await studio.page.keyboard.down("w")
        await studio.until_frame(lambda f: forward(f) > 4, "forward")
        await studio.page.reload()
        await studio.until_playing(12)
        reached = forward(await studio.frame())
        await studio.page.wait_for_timeout(700)
        assert abs(forward(await studio.frame()) - reached) <= 2


# An image to start from.


@pytest.mark.parametrize("way", some_of(["choose", "drop", "paste"], "choose"))
async def test_an_image_is_chosen_dropped_or_pasted_and_the_stream_starts_from_it(
    browser: Browser, way: str
) -> None:
    async with world(browser, IMAGE) as studio:
        page = studio.page
        await studio.until_playing()
        if way == "choose":
            await page.locator("#image-file").set_input_files(file(jpeg(RED)))
        else:
            data = base64.b64encode(jpeg(RED)).decode()
            assert await page.evaluate(BRING, [way, data, "image/jpeg"])
        await studio.until_frame(lambda f: shows(f, RED), "the image")
        await expect(page.locator("#image-shown")).to_be_visible()
        shape = await page.locator("#image-shown").evaluate(
            "(i) => i.naturalWidth / i.naturalHeight"
        )
        assert shape == pytest.approx(WIDTH / HEIGHT, rel=0.02)
        await page.reload()
        await studio.until_playing()
        await studio.until_frame(lambda f: shows(f, RED), "the image after a reload")
        await expect(page.locator("#image-note")).to_have_text("The stream has an image.")
        stored = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert len(stored) < 2000, "the browser keeps no image"


async def test_a_model_that_needs_an_image_asks_for_it_first(browser: Browser) -> None:
    async with world(browser, REQUIRED) as studio:
        page = studio.page
        await studio.until(lambda s: s["connection"]["code"] == "image_wanted", "the question")
        await expect(page.locator("#curtain-title")).to_have_text("It starts from an image")
        await expect(page.locator("#curtain-action")).to_have_text("Choose an image")
        await expect(page.locator("#image-choose")).to_be_visible()
        await expect(page.locator("body")).to_have_attribute("data-lead", "prompt")
        await page.locator("#presets .preset", has_text=PROMPTS[2]).click()
        await expect(page.locator("#prompt-note")).to_contain_text("will start with this")
        async with page.expect_file_chooser() as chooser:
            await page.locator("#curtain-action").click()
        await (await chooser.value).set_files(file(jpeg(BLUE)))
        await studio.until_playing()
        first = await studio.until_frame(lambda f: shows(f, BLUE), "the image")
        assert np.abs(first[12, 40] - np.array(prompt_colour(PROMPTS[2]))).max() < 40
        await expect(page.locator("#image-shown")).to_be_visible()
        await page.locator("#end").click()
        await page.locator("#curtain-action").click()
        await studio.until_playing()
        await studio.until_frame(lambda f: shows(f, BLUE), "the image again")


@pytest.mark.long
async def test_what_is_no_image_is_said(browser: Browser) -> None:
    async with world(browser, IMAGE) as studio:
        await studio.until_playing()
        await studio.page.locator("#image-file").set_input_files(file(b"hello"))
        await expect(studio.page.locator(".notice")).to_contain_text("no picture")
        await expect(studio.page.locator("#image-shown")).to_be_hidden()


@pytest.mark.long
async def test_a_photograph_of_a_phone_is_made_small_enough(browser: Browser) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((4000, 3000)).save(buffer, "JPEG", quality=90)
    inputs = replace(WORDS, image=ImageInput(1280, 704))
    async with world(browser, inputs) as studio:
        await studio.until_playing()
        await studio.page.locator("#image-file").set_input_files(file(buffer.getvalue()))
        await expect(studio.page.locator("#image-shown")).to_be_visible()
        await expect(studio.page.locator(".notice")).to_have_count(0)


# The user's video.


def fake_device(frame: np.ndarray) -> bool:
    """Chromium's fake camera is green with something that turns; the model mixes in its colour."""
    half = np.array(prompt_colour(PROMPTS[0])) / 2
    seen = frame[20:-12].reshape(-1, 3).mean(0) - half
    return bool(seen[1] > 60 and seen[1] > seen[0] + 20)


@pytest.mark.long
async def test_what_the_camera_sees_is_redrawn_until_it_is_stopped(browser: Browser) -> None:
    async with world(browser, VIDEO) as studio:
        page = studio.page
        await studio.until_playing()
        assert not fake_device(await studio.frame())
        await page.get_by_role("button", name="Start the camera").click()
        await studio.until_frame(fake_device, "the fake camera")
        await expect(page.locator("#webcam-preview")).to_be_visible()
        await studio.until(lambda s: s["webcam"]["sent"] > 20, "a second of frames")
        await page.get_by_role("button", name="Stop the camera").click()
        stopped = (await studio.snapshot())["webcam"]
        assert not stopped["on"] and stopped["problem"] is None
        await page.wait_for_timeout(400)
        assert (await studio.snapshot())["webcam"]["sent"] <= stopped["sent"] + 1
        await expect(page.locator("#webcam-preview")).to_be_hidden()
        assert fake_device(await studio.frame()), "the last frame stands"


@pytest.mark.long
async def test_a_paused_stream_is_sent_nothing(browser: Browser) -> None:
    async with world(browser, VIDEO) as studio:
        await studio.until_playing()
        await studio.page.locator("#webcam-toggle").click()
        await studio.until(lambda s: s["webcam"]["sent"] > 3, "frames")
        await studio.page.locator("#pause").click()
        await studio.until(lambda s: s["stream"]["paused"], "a pause")
        await studio.page.wait_for_timeout(200)
        sent = (await studio.snapshot())["webcam"]["sent"]
        await studio.page.wait_for_timeout(500)
        assert (await studio.snapshot())["webcam"]["sent"] <= sent + 1
        await studio.page.locator("#pause").click()
        await studio.until(lambda s: s["webcam"]["sent"] > sent + 3, "frames again")


async def test_a_camera_that_is_unplugged_says_so_and_another_can_be_chosen(
    browser: Browser,
) -> None:
    async with world(browser, VIDEO) as studio:
        page = studio.page
        await studio.until_playing()
        await page.evaluate("""() => {
          const { mediaDevices } = navigator;
          const open = mediaDevices.getUserMedia.bind(mediaDevices);
          mediaDevices.getUserMedia = async (wanted) => {
            window.wanted = wanted;
            return (window.opened = await open(wanted));
          };
          mediaDevices.enumerateDevices = async () => ["one", "two"].map((deviceId) =>
            ({ kind: "videoinput", deviceId, label: `Camera ${deviceId}` }));
        }""")
        await page.locator("#webcam-toggle").click()
        await studio.until(lambda s: s["webcam"]["sent"] > 0, "frames")
        await page.evaluate("window.opened.getVideoTracks()[0].onended()")
        await expect(page.locator("#webcam-help-title")).to_have_text("The camera is gone")
        assert not (await studio.snapshot())["webcam"]["on"]
        await page.locator("#webcam-device").select_option("two")
        await studio.until(lambda s: s["webcam"]["on"], "the other camera")
        assert await page.evaluate("window.wanted.video.deviceId.ideal") == "two"
        await expect(page.locator("#webcam-help")).to_be_hidden()
        await page.locator("#end").click()
        await studio.until(lambda s: not s["webcam"]["on"], "off with its stream")


@pytest.mark.long
async def test_why_there_is_no_camera_is_said(browser: Browser) -> None:
    async with world(browser, VIDEO) as studio:
        await studio.until_playing()
        for error, title in (
            ("NotAllowedError", "The camera is blocked"),
            ("NotFoundError", "No camera found"),
            ("NotReadableError", "The camera is in use"),
        ):
            await studio.page.evaluate(
                "(name) => { navigator.mediaDevices.getUserMedia = () => "
                "Promise.reject(new DOMException('no', name)); }",
                error,
            )
            await studio.page.locator("#webcam-toggle").click()
            await expect(studio.page.locator("#webcam-help-title")).to_have_text(title)
