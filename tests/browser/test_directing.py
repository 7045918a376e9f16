"""Directing the stream: dragging, anchors, prompt, scene, seed, pause, by mouse, touch and keys."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from playwright.async_api import Browser, expect

from rollcast.models.contract import ModelInputs, PromptInput
from rollcast.models.test_pattern import TestPattern, prompt_colour

from ..server.other_models import BarePattern, CausalPattern
from ..server.running import running
from ..variants import some_of
from .studio import Studio, band_colour, disc_at, studio_at


def near(colour: np.ndarray, prompt: str) -> bool:
    return bool(np.abs(colour - prompt_colour(prompt)).max() < 12)


async def test_the_disc_follows_the_pointer_until_it_is_released(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        mouse = studio.page.mouse
        await mouse.move(*await studio.place(0.3, 0.5))
        await mouse.down()
        await studio.until_frame(lambda f: disc_at(f, 0.3, 0.5), "the disc where it was pressed")
        await mouse.move(*await studio.place(0.75, 0.75), steps=12)
        frame = await studio.until_frame(lambda f: disc_at(f, 0.75, 0.75), "the disc moved along")
        assert not disc_at(frame, 0.3, 0.5)
        held = await studio.snapshot()
        assert held["tracks"] == {"held": 1, "anchors": 0}
        assert 0 < held["figures"]["photonMs"] < 1000
        await mouse.up()
        await studio.until_frame(lambda f: not disc_at(f, 0.75, 0.75), "the disc let go")


@pytest.mark.long
async def test_several_fingers_hold_several_things(browser: Browser) -> None:
    async with (
        running() as server,
        studio_at(browser, server.http, has_touch=True, is_mobile=True) as studio,
    ):
        await studio.until_playing()
        touch = await studio.page.context.new_cdp_session(studio.page)

        async def fingers(kind: str, *places: tuple[float, float]) -> None:
            points = [await studio.place(*place) for place in places]
            await touch.send(
                "Input.dispatchTouchEvent",
                {
                    "type": kind,
                    "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)],
                },
            )

        await fingers("touchStart", (0.25, 0.5), (0.75, 0.5))
        await fingers("touchMove", (0.25, 0.8), (0.75, 0.8))
        await studio.until_frame(
            lambda f: disc_at(f, 0.25, 0.8) and disc_at(f, 0.75, 0.8), "two discs"
        )
        assert (await studio.snapshot())["tracks"]["held"] == 2
        await fingers("touchEnd")
        await studio.until_frame(
            lambda f: not disc_at(f, 0.25, 0.8) and not disc_at(f, 0.75, 0.8), "both let go"
        )


@pytest.mark.long
async def test_a_burst_of_movement_arrives_whole(browser: Browser) -> None:
    """Many events between two refreshes end at the last place, without a rejected message."""
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.evaluate(
            """() => {
              const stage = document.getElementById("stage");
              const box = stage.getBoundingClientRect();
              stage.setPointerCapture = () => {};
              const fire = (type, x, y) => stage.dispatchEvent(new PointerEvent(type, {
                pointerId: 7, button: 0, bubbles: true, pointerType: "pen",
                clientX: box.left + x * box.width, clientY: box.top + y * box.height,
              }));
              fire("pointerdown", 0.2, 0.5);
              for (let x = 0.2; x <= 0.8; x += 0.0015) fire("pointermove", x, 0.5);
            }"""
        )
        await studio.until_frame(lambda f: disc_at(f, 0.8, 0.5), "the disc at the end of the burst")
        await expect(studio.page.locator(".notice")).to_have_count(0)


async def test_an_anchor_stays_until_it_is_taken_away(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        at = await studio.place(0.6, 0.7)
        await studio.page.mouse.dblclick(*at)
        await studio.until_frame(lambda f: disc_at(f, 0.6, 0.7), "the anchor")
        await studio.page.mouse.dblclick(*at)
        await studio.until_frame(lambda f: not disc_at(f, 0.6, 0.7), "the anchor taken away")

        await studio.page.keyboard.press("a")
        await expect(studio.page.locator("#anchor")).to_have_attribute("aria-pressed", "true")
        await studio.page.mouse.click(*at)
        await studio.page.mouse.click(*await studio.place(0.3, 0.7))
        await studio.until_frame(
            lambda f: disc_at(f, 0.6, 0.7) and disc_at(f, 0.3, 0.7), "two anchors by single clicks"
        )
        await studio.page.keyboard.press("Escape")
        await studio.until_frame(
            lambda f: not disc_at(f, 0.6, 0.7) and not disc_at(f, 0.3, 0.7), "everything let go"
        )


async def test_a_long_press_pins_where_there_is_no_double_click(browser: Browser) -> None:
    async with (
        running() as server,
        studio_at(browser, server.http, has_touch=True, is_mobile=True) as studio,
    ):
        await studio.until_playing()
        touch = await studio.page.context.new_cdp_session(studio.page)
        x, y = await studio.place(0.4, 0.75)
        await touch.send(
            "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
        )
        await studio.until(lambda s: s["tracks"] == {"held": 0, "anchors": 1}, "an anchor")
        await touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        await studio.until_frame(lambda f: disc_at(f, 0.4, 0.75), "the anchor")


@pytest.mark.long
async def test_the_keyboard_can_drag(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        keyboard = studio.page.keyboard
        await studio.page.locator("#stage").focus()
        for _ in range(2):
            await keyboard.press("Shift+ArrowLeft")
        await keyboard.press("Enter")
        await studio.until_frame(lambda f: disc_at(f, 0.3, 0.5), "hold taken at the cursor")
        await keyboard.press("Shift+ArrowDown")
        for _ in range(5):
            await keyboard.press("ArrowDown")
        await studio.until_frame(lambda f: disc_at(f, 0.3, 0.7), "the disc moved by the arrows")
        await keyboard.press("Enter")
        await studio.until_frame(lambda f: not disc_at(f, 0.3, 0.7), "let go")


async def test_a_prompt_changes_the_picture(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        page = studio.page
        await page.locator("#prompt").fill("a green wall")
        await page.keyboard.press("Enter")
        await studio.until_frame(lambda f: near(band_colour(f), "a green wall"), "green")
        await page.get_by_role("button", name="a blue wall").click()
        await studio.until_frame(lambda f: near(band_colour(f), "a blue wall"), "blue")
        await expect(page.locator("#presets [aria-pressed=true]")).to_have_text("a blue wall")
        await expect(page.locator("#prompt")).to_have_value("a blue wall")
        assert (await studio.snapshot())["figures"]["photonMs"] > 0

        await page.reload()
        await page.locator("#history summary").click()
        listed = await page.locator("#history-list button").all_text_contents()
        assert listed == ["a blue wall", "a green wall"]


@pytest.mark.long
async def test_a_slow_change_goes_through_the_colours_between(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        page = studio.page
        await page.locator("#transition").fill("12")
        await expect(page.locator("#transition-text")).to_have_text("over 1.9 s")
        await page.get_by_role("button", name="a blue wall").click()
        red, blue = np.array(prompt_colour("a red wall")), np.array(prompt_colour("a blue wall"))

        def between(frame: np.ndarray) -> bool:
            share = (band_colour(frame)[2] - red[2]) / (blue[2] - red[2])
            return bool(0.3 < share < 0.7)

        await studio.until_frame(between, "a colour half way")
        await studio.until_frame(lambda f: near(band_colour(f), "a blue wall"), "blue in the end")


async def test_scenes_are_chosen_with_the_arrow_keys_too(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await expect(studio.page.get_by_role("radio")).to_have_count(2)
        await expect(studio.page.get_by_role("radio", name="Moving bars")).to_be_checked()
        loaded = "[...document.querySelectorAll('#scene-list img')].every((i) => i.naturalWidth)"
        assert await studio.page.evaluate(loaded)
        await studio.page.get_by_role("radio", name="Moving bars").focus()
        await studio.page.keyboard.press("ArrowRight")
        await studio.until(lambda s: s["stream"]["scene"] == "grid", "the grid")
        await expect(studio.page.get_by_role("radio", name="Grid")).to_be_checked()


async def test_space_pauses_and_goes_on_with_the_next_frame(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.keyboard.press("Space")
        await studio.until_state("paused")
        await expect(studio.page.locator("#pause")).to_have_attribute("aria-pressed", "true")
        before = (await studio.snapshot())["player"]
        await asyncio.sleep(0.4)
        after = (await studio.snapshot())["player"]
        assert after["playheadUs"] == before["playheadUs"]
        assert after["shown"] <= before["shown"] + 1
        await studio.page.keyboard.press("Space")
        seen = await studio.watch(10)
        seqs = [frame["seq"] for frame in seen]
        assert seqs[0] - after["lastSeq"] in (0, 1, 2)
        assert (await studio.snapshot())["status"]["state"] == "live"


@pytest.mark.long
async def test_restart_begins_anew_from_the_seed(browser: Browser) -> None:
    async with running() as server, studio_at(browser, f"{server.http}/?seed=5") as studio:
        await studio.until_playing(30)
        await expect(studio.page.locator("#seed")).to_have_value("5")
        before = (await studio.snapshot())["player"]["lastSeq"]
        await studio.page.locator("#seed").fill("9")
        await studio.page.get_by_role("button", name="Restart").click()
        seen = await studio.watch(60)
        # Painted numbers begin anew with a chunk, once; frames from before may be seen too.
        (restart,) = {frame["seq"] - frame["number"] for frame in seen} - {0}
        assert restart > before and restart % 4 == 0
        await studio.page.locator("#seed").fill("-3")
        await studio.page.get_by_role("button", name="Restart").click()
        assert await studio.page.evaluate("!document.getElementById('seed').checkValidity()")


async def test_another_model_is_another_stream(browser: Browser) -> None:
    second = TestPattern()
    second.info = replace(
        second.info,
        name="second",
        title="Second pattern",
        inputs=ModelInputs(scenes=second.info.scenes, prompt=PromptInput(("a cyan wall",))),
    )
    async with (
        running(lambda: [TestPattern(), second], models=("test-pattern", "second")) as server,
        studio_at(browser, server.http) as studio,
    ):
        first = (await studio.until_playing())["session"]
        await studio.page.locator("#model").select_option("second")
        await studio.until(lambda s: s["session"]["model"] == "second", "the second model")
        session = (await studio.until_playing())["session"]
        assert session["session_id"] != first["session_id"]
        await expect(studio.page.get_by_role("button", name="a cyan wall")).to_be_visible()
        # What this model cannot do is not offered.
        await expect(studio.page.locator("#talk")).to_be_hidden()
        await expect(studio.page.locator("#drag-hint")).to_have_text("")
        await sessions_become(studio, server.http, 1)


@pytest.mark.parametrize("seed", some_of([True, False], False))
async def test_only_what_the_model_takes_is_offered(browser: Browser, seed: bool) -> None:
    async with (
        running(lambda: [BarePattern(seed=seed)], models=("bare",)) as server,
        studio_at(browser, server.http) as studio,
    ):
        await studio.until_playing()
        for gone in ("#scenes", "#prompt-card", "#talk", "#sound", "#chip-talking", "#anchor"):
            await expect(studio.page.locator(gone)).to_be_hidden()
        await expect(studio.page.locator("#seed")).to_be_visible(visible=seed)
        for key in ("t", "i", "m", "a", "Escape"):
            await studio.page.keyboard.press(key)
        before = (await studio.snapshot())["player"]["lastChunk"]
        await studio.page.get_by_role("button", name="Restart").click()
        await studio.until(lambda s: s["player"]["lastChunk"] > before + 4, "more frames")
        await expect(studio.page.locator("#notices")).to_have_text("")


@pytest.mark.long
async def test_chunks_of_several_lengths_are_shown_without_a_gap(browser: Browser) -> None:
    async with (
        running(lambda: [CausalPattern()]) as server,
        studio_at(browser, server.http) as studio,
    ):
        await studio.until_playing()
        await studio.page.get_by_role("button", name="Restart").click()
        shown = await studio.until(lambda s: s["player"]["shown"] > 60, "frames")
        assert shown["player"]["lastSeq"] - shown["player"]["shown"] < 5


async def sessions_become(studio: Studio, http: str, count: int) -> None:
    """Wait until the server holds this many streams."""
    request = studio.page.context.request
    async with asyncio.timeout(45):
        while True:
            body = await (await request.get(f"{http}/v1/sessions")).json()
            if len(body if isinstance(body, list) else body["sessions"]) == count:
                return
            await asyncio.sleep(0.05)
