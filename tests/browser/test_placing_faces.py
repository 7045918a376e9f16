"""The crop tool finds the face: eyes level and under the marks, words for what will not do."""

from __future__ import annotations

import asyncio
import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Browser, expect

from rollcast.models.face.finder import find
from rollcast.models.pocket.looks import GUIDE
from rollcast.models.pocket.model import ASSETS
from rollcast.models.test_pattern import TestPattern

from ..pictures import encoded
from ..server.running import running
from .studio import WAIT_S, Studio, studio_at
from .test_own_picture import file

NEAR = 0.02
"""Of the square: two fifths of an iris."""


def beside(*pictures: Image.Image, side: int = 520) -> bytes:
    """Pictures beside each other before grey."""
    canvas = Image.new("RGB", (side * len(pictures), side), (120, 130, 120))
    for k, picture in enumerate(pictures):
        canvas.paste(picture, (k * side + (side - picture.width) // 2, side - picture.height))
    return encoded(canvas, quality=92)


async def placed(studio: Studio, picture: bytes, words: str) -> None:
    """Bring a picture, up to where its face was looked for."""
    await studio.page.locator("#own-file").set_input_files(file(picture))
    await says(studio, words)


async def says(studio: Studio, words: str) -> None:
    """Wait for words of the crop tool; a busy machine looks for a face for seconds."""
    await expect(studio.page.locator("#own-say")).to_contain_text(words, timeout=WAIT_S * 1000)


async def eyes_and_mouth(studio: Studio) -> np.ndarray:
    """Where they are in the square that the stream was given [3, 2], 0..1."""
    shown = studio.page.locator("#own-image")
    before = await shown.get_attribute("src")
    await studio.page.locator("#own-use").click()
    async with asyncio.timeout(WAIT_S):
        while (url := await shown.get_attribute("src")) == before or not url:
            await asyncio.sleep(0.05)
    square = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    face = find(square.convert("RGB")).face
    assert face is not None
    points = face.points / square.width
    return np.array([points[pair].mean(0) for pair in ([33, 133], [362, 263], [13, 14])])


async def test_photographs_and_looks_place_themselves(browser: Browser, fixtures: Path) -> None:
    photograph = Image.open(fixtures / "face" / "portrait.jpg")
    look = Image.open(ASSETS / "looks" / "kofi-news.webp").convert("RGB")
    wanted = np.array([*GUIDE.eyes, GUIDE.mouth])
    asked: list[str] = []
    model = TestPattern()
    model.info = replace(model.info, inputs=replace(model.info.inputs, picture=GUIDE))
    async with (
        running(lambda: [model]) as server,
        studio_at(browser, server.http) as studio,
    ):
        studio.page.on("request", lambda request: asked.append(request.url))
        await studio.until_playing()
        assert not any("/face/worker" in url or "networks" in url for url in asked)
        await studio.page.locator("#own-open").click()
        tilted = photograph.rotate(-20, Image.Resampling.BICUBIC, expand=True)
        await placed(studio, beside(tilted), "mouth is open")
        tilt = float(await studio.page.locator("#own-tilt").input_value())
        assert tilt == pytest.approx(-20, abs=3)
        assert np.abs(await eyes_and_mouth(studio) - wanted).max() < NEAR
        await studio.page.locator("#own-open").click()
        await placed(studio, beside(look.resize((330, 330)), look), "several faces")
        assert np.abs(await eyes_and_mouth(studio) - wanted).max() < NEAR


@pytest.mark.long
async def test_what_will_not_do_is_said_and_hands_are_faster(
    browser: Browser, fixtures: Path
) -> None:
    photograph = Image.open(fixtures / "face" / "portrait.jpg")
    # networks that are not there are a fault of the console, too
    async with (
        running() as server,
        studio_at(browser, server.http, expected_problems=True) as studio,
    ):
        await studio.until_playing()
        await studio.page.locator("#own-open").click()
        await placed(studio, beside(photograph.point(lambda level: level * 0.2)), "too dark")
        await placed(studio, beside(Image.effect_noise((300, 300), 60).convert("RGB")), "No face")
        assert float(await studio.page.locator("#own-zoom").input_value()) == 0
        await studio.page.locator("#own-file").set_input_files(file(beside(photograph)))
        await says(studio, "Looking")
        await studio.page.locator("#own-zoom").fill("1")
        await says(studio, "mouth is open")
        assert float(await studio.page.locator("#own-zoom").input_value()) == 1
        await studio.page.route("**/networks.safetensors", lambda route: route.abort())
        await placed(studio, beside(photograph), "until eyes and mouth are under the marks")
