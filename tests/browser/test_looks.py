"""The page as seen and operated: sizes, themes, contrast, keyboard, names, motion."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, expect

from rollcast.models.contract import Chunk, Controls, Scene, StreamRequest
from rollcast.models.test_pattern import TestPattern, TestPatternState

from ..server.running import running
from ..variants import some_of
from .studio import Studio, studio_at

SIZES = {
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
    "tablet": {"viewport": {"width": 820, "height": 1180}},
    "desktop": {"viewport": {"width": 1440, "height": 900}},
    "wide": {"viewport": {"width": 2200, "height": 1200}},
    "low": {"viewport": {"width": 1100, "height": 560}},
    "sideways": {"viewport": {"width": 844, "height": 390}, "has_touch": True, "is_mobile": True},
}

# What a page is told of its device once, when it is opened; its window's size and colours may
# change later. A desktop's figures are open from the start.
DEVICES = {
    "touch": ("phone", "sideways"),
    "tablet": ("tablet",),
    "desktop": ("desktop", "wide", "low"),
}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

# Resolves when colours have changed that fade; what moves for ever does not count.
AT_REST = """new Promise(requestAnimationFrame).then(() => Promise.allSettled(
  document.getAnimations()
    .filter((each) => Number.isFinite(each.effect.getComputedTiming().endTime))
    .map((each) => each.finished),
)).then(() => true)"""

PROBES = (Path(__file__).parent / "probes.js").read_text()


async def probe(studio: Studio, name: str) -> Any:
    """Ask the page one of the questions in probes.js."""
    return await studio.page.evaluate(f"{PROBES.rstrip()}.{name}()")


async def sizes(studio: Studio, screens: Sequence[str]) -> AsyncIterator[str]:
    """Make the window as large as each of these screens in turn."""
    for screen in screens:
        await studio.page.set_viewport_size(SIZES[screen]["viewport"])
        await studio.page.evaluate(AT_REST)
        yield screen


async def schemes(studio: Studio) -> AsyncIterator[str]:
    """Have the system light, then dark."""
    for scheme in SCHEMES:
        await studio.page.emulate_media(color_scheme=scheme)
        await studio.page.evaluate(AT_REST)
        yield scheme


@pytest.mark.parametrize(
    "screens",
    some_of(DEVICES.values(), DEVICES["touch"], DEVICES["desktop"]),
    ids=lambda screens: next(name for name in DEVICES if DEVICES[name] == screens),
)
async def test_nothing_sticks_out_at_any_size(browser: Browser, screens: Sequence[str]) -> None:
    options = SIZES[screens[0]]
    async with running() as server, studio_at(browser, server.http, **options) as studio:
        await studio.until_playing()
        async for screen in sizes(studio, screens):
            assert await probe(studio, "overflowing") == {"wide": False, "out": []}, screen
            stage = await studio.page.locator("#stage").bounding_box()
            assert stage is not None
            assert abs(stage["width"] - stage["height"]) < 2, screen
            assert stage["width"] >= 250, screen
            talk = await studio.page.locator("#talk").bounding_box()
            assert talk is not None
            assert talk["height"] >= 44, screen


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


async def test_text_is_readable_in_light_and_dark(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:

        async def readable(when: str) -> None:
            async for scheme in schemes(studio):
                assert await probe(studio, "lowContrast") == [], (when, scheme)

        await studio.until_playing()
        await readable("while it plays")
        await studio.page.locator("#talk").click()
        await studio.until(lambda s: s["stream"]["talking"], "talking")
        await readable("while talking, with the pointer on Stop")
        await studio.page.evaluate("document.getElementById('mic-help').hidden = false")
        await studio.page.keyboard.press("?")
        await expect(studio.page.locator("#help-dialog")).to_be_visible()
        await readable("with the help open")
        await studio.page.keyboard.press("Escape")
        await studio.page.locator("#end").click()
        await studio.until_state("ended")
        await readable("at the end")


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
