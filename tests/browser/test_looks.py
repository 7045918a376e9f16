"""The page as seen and operated: sizes, themes, contrast, keyboard, names, motion."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from rollcast.models.contract import Chunk, Controls, Scene, StreamRequest
from rollcast.models.test_pattern import TestPattern, TestPatternState

from ..server.running import running
from .studio import Studio, studio_at

SIZES = {
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
    "tablet": {"viewport": {"width": 820, "height": 1180}},
    "desktop": {"viewport": {"width": 1440, "height": 900}},
    "wide": {"viewport": {"width": 2200, "height": 1200}},
    "low": {"viewport": {"width": 1100, "height": 560}},
    "sideways": {"viewport": {"width": 844, "height": 390}, "has_touch": True, "is_mobile": True},
}

# Resolves when colours have changed that fade; what moves for ever does not count.
AT_REST = """Promise.allSettled(
  document.getAnimations()
    .filter((each) => Number.isFinite(each.effect.getComputedTiming().endTime))
    .map((each) => each.finished),
).then(() => true)"""

PROBES = (Path(__file__).parent / "probes.js").read_text()


async def probe(studio: Studio, name: str) -> Any:
    """Ask the page one of the questions in probes.js."""
    return await studio.page.evaluate(f"{PROBES.rstrip()}.{name}()")


@pytest.mark.parametrize("size", SIZES)
async def test_nothing_sticks_out_at_any_size(browser: Browser, size: str) -> None:
    async with running() as server, studio_at(browser, server.http, **SIZES[size]) as studio:
        await studio.until_playing()
        assert await probe(studio, "overflowing") == {"wide": False, "out": []}
        stage = await studio.page.locator("#stage").bounding_box()
        assert stage is not None
        assert abs(stage["width"] - stage["height"]) < 2
        assert stage["width"] >= 250
        talk = await studio.page.locator("#talk").bounding_box()
        assert talk is not None
        assert talk["height"] >= 44


async def test_on_a_phone_the_chosen_scene_is_in_view(browser: Browser) -> None:
    scenes = tuple(Scene(f"s{n}", f"Scene {n}", "scene") for n in range(12))

    class Many(TestPattern):
        def __init__(self) -> None:
            super().__init__()
            self.info = replace(self.info, inputs=replace(self.info.inputs, scenes=scenes))

        def start(self, request: StreamRequest) -> TestPatternState:
            return super().start(replace(request, scene=None))

        def step(self, state: TestPatternState, controls: Controls) -> Chunk:
            return replace(super().step(state, replace(controls, scene=None)), scene="s10")

    async with (
        running(lambda: [Many()]) as server,
        studio_at(browser, server.http, expected_problems=True, **SIZES["phone"]) as studio,
    ):
        await studio.until(lambda s: s["stream"]["scene"] == "s10", "the scene")
        chosen = studio.page.locator(".scene:has(input:checked)")
        await expect(chosen).to_have_attribute("title", "Scene 10")
        box = await chosen.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert await studio.page.evaluate("scrollY") == 0


async def test_on_a_desktop_all_that_matters_is_in_view_without_scrolling(
    browser: Browser,
) -> None:
    async with running() as server, studio_at(browser, server.http, **SIZES["desktop"]) as studio:
        await studio.until_playing()
        for part in ("#stage", "#talk", "#prompt", "#figures"):
            box = await studio.page.locator(part).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 900, part


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_is_readable_in_light_and_dark(browser: Browser, scheme: Any) -> None:
    async with running() as server, studio_at(browser, server.http, color_scheme=scheme) as studio:
        await studio.until_playing()
        assert await probe(studio, "lowContrast") == []
        await studio.page.locator("#talk").click()
        await studio.until(lambda s: s["stream"]["talking"], "talking")
        await studio.page.evaluate(AT_REST)
        assert await probe(studio, "lowContrast") == [], "while talking, with the pointer on Stop"
        await studio.page.evaluate("document.getElementById('mic-help').hidden = false")
        await studio.page.keyboard.press("?")
        await expect(studio.page.locator("#help-dialog")).to_be_visible()
        assert await probe(studio, "lowContrast") == []
        await studio.page.keyboard.press("Escape")
        await studio.page.locator("#end").click()
        await studio.until_state("ended")
        assert await probe(studio, "lowContrast") == []


async def test_the_theme_can_be_switched_and_is_remembered(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http, color_scheme="dark") as studio:
        await studio.until_playing()
        background = "getComputedStyle(document.body).backgroundColor"
        dark = await studio.page.evaluate(background)
        await studio.page.locator("#theme").click()
        light = await studio.page.evaluate(background)
        assert light != dark
        await studio.page.reload()
        await studio.until_playing()
        assert await studio.page.evaluate(background) == light
        await studio.page.locator("#theme").click()
        assert await studio.page.evaluate(background) == dark


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        reached = []
        for _ in range(60):
            await studio.page.keyboard.press("Tab")
            focus = await probe(studio, "focus")
            if focus["tag"] == "BODY":
                break
            reached.append(focus["id"])
            assert focus["ring"], focus
        wanted = set(
            "theme help end stage anchor clear record screenshot fullscreen sound file talk"
            " interrupt pause bars prompt prompt-send transition seed dice restart".split()
        )
        assert wanted <= set(reached), wanted - set(reached)


async def test_everything_has_a_name(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        assert await probe(studio, "nameless") == []
        tree = await studio.page.locator("body").aria_snapshot()
        for name in ("Talk", "Interrupt", "Live picture", "Scene", "Prompt", "Live figures"):
            assert name in tree


async def test_letters_in_the_prompt_are_letters(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.keyboard.press("p")
        await studio.page.keyboard.type("start a map")
        await expect(studio.page.locator("#prompt")).to_have_value("start a map")
        snapshot = await studio.snapshot()
        assert snapshot["status"]["state"] == "live"
        assert not snapshot["recording"]
        assert not snapshot["speech"]["talking"]


async def test_single_keys_can_be_switched_off(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.keyboard.press("?")
        await studio.page.locator("#single-keys").uncheck()
        await studio.page.keyboard.press("Escape")
        await studio.page.reload()
        await studio.until_playing()
        await studio.page.keyboard.press("Space")
        await studio.page.keyboard.press("r")
        await studio.until_playing(5)
        assert not (await studio.snapshot())["recording"]


async def test_reduced_motion_is_respected(browser: Browser) -> None:
    async with (
        running() as server,
        studio_at(browser, server.http, reduced_motion="reduce") as studio,
    ):
        await studio.until_playing()
        await studio.page.keyboard.press("r")
        await studio.until(lambda s: s["recording"], "recording")
        assert await probe(studio, "moving") == []
        await expect(studio.page.locator("#glow")).to_be_hidden()


async def test_the_figures_are_filled_in(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        session = (await studio.until_playing(30))["session"]
        await studio.page.get_by_role("button", name="a blue wall").click()
        await expect(studio.page.locator("#figure-photonMs")).not_to_have_text("–")
        for figure in ("fps", "latencyMs", "leadMs", "kbps", "chunkMs"):
            await expect(studio.page.locator(f"#figure-{figure}")).not_to_have_text("–")
        await expect(studio.page.locator("#facts")).to_contain_text(session["session_id"])
        await expect(studio.page.locator("#facts")).to_contain_text("h264 128×128")


async def test_the_snapshot_for_support_holds_no_secret(browser: Browser) -> None:
    async with running(token="open sesame") as server, studio_at(browser, "about:blank") as studio:
        await studio.page.goto(f"{server.http}/#token=open%20sesame")
        await studio.until_playing()
        saved = await studio.page.evaluate("sessionStorage.getItem('rollcast.session')")
        token = saved.split('"resumeToken":"')[1].split('"')[0]
        text = await studio.page.evaluate("JSON.stringify(rollcast.snapshot())")
        assert token not in text
        assert "sesame" not in text
