"""The embedded model through the page: speech, dragging and words do what they should."""

import base64
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch
import torch.nn.functional as F
from playwright.async_api import Browser, async_playwright, expect

from rollcast.models.registry import load_model
from rollcast.server.protocol.packets import Kind, parse_packet

from ..server.running import RunningServer, running, until
from .babble import SILENT_S, SPOKEN_S, babble
from .conftest import ARGUMENTS, chromium, write_wav
from .studio import Studio, studio_at

pytestmark = [pytest.mark.slow, pytest.mark.alone]

FRAME_S = 0.04
FRAME_SAMPLES = 640
SIZE = 192
ASSETS = Path(__file__).parents[2] / "models" / "pocket" / "assets"

# The next new frames, as grey values of one part of the picture.
WATCH_PART = """async ([count, left, top, right, bottom]) => {
  const seen = [];
  let last = -1;
  while (seen.length < count) {
    await new Promise(requestAnimationFrame);
    const { width, seq, rgba } = rollcast.readFrame();
    if (seq === last || seq < 0) continue;
    last = seq;
    let text = "";
    for (let y = top; y < bottom; y += 1) {
      for (let x = left; x < right; x += 1) {
        const at = (y * width + x) * 4;
        text += String.fromCharCode((rgba[at] + rgba[at + 1] + rgba[at + 2]) / 3);
      }
    }
    seen.push([seq, btoa(text)]);
  }
  return seen;
}"""


@pytest.fixture(autouse=True)
def weights() -> None:
    """The weights are part of the repository."""
    assert (ASSETS / "pocket.safetensors").exists(), "models/pocket/assets is incomplete"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared() -> AsyncIterator[RunningServer]:
    """A server with the embedded model, warmed up, that keeps no stream which was left."""
    load = partial(load_model, "pocket", threads=1)
    async with running(
        lambda: [load()], wait_ready=False, models=("pocket",), grace_s=0.2
    ) as server:
        await until(lambda: server.engine.health == "ready", limit_s=90)
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def server(shared: RunningServer) -> AsyncIterator[RunningServer]:
    """It serves nobody yet."""
    yield shared
    await until(lambda: not shared.engine.streams)


def driving_sound(studio: Studio) -> dict[int, np.ndarray]:
    """Collects the sound that comes with the pictures: samples by frame number."""
    heard: dict[int, np.ndarray] = {}

    def take(data: str | bytes) -> None:
        if isinstance(data, str):
            return
        packet = parse_packet(data)
        if packet.kind is Kind.AUDIO_OUT:
            samples = np.frombuffer(packet.payload, "<i2").astype(float)
            first = round(packet.pts_us / 1e6 / FRAME_S)
            for number, part in enumerate(samples.reshape(-1, FRAME_SAMPLES)):
                heard[first + number] = part

    studio.page.on("websocket", lambda socket: socket.on("framereceived", take))
    return heard


async def watch(
    studio: Studio, frames: int, box: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers and grey values [frames, pixels] of a part of the picture."""
    left, top, right, bottom = box
    seen: Any = await studio.page.evaluate(WATCH_PART, [frames, left, top, right, bottom])
    pixels = [np.frombuffer(base64.b64decode(text), np.uint8).astype(float) for _, text in seen]
    return np.array([seq for seq, _ in seen]), np.array(pixels)


def smooth(values: np.ndarray, frames: int) -> np.ndarray:
    return np.convolve(values, np.ones(frames) / frames, mode="same")


async def test_what_is_said_into_the_microphone_moves_the_mouth(
    server: RunningServer, tmp_path: Path
) -> None:
    voice = tmp_path / "voice.wav"
    write_wav(voice, babble(4 * (SPOKEN_S + SILENT_S), 48_000), 48_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(),
            args=[*ARGUMENTS, f"--use-file-for-fake-audio-capture={voice}"],
        )
        async with studio_at(browser, "about:blank") as studio:
            heard = driving_sound(studio)
            await studio.page.goto(f"{server.http}/?seed=1")
            await studio.until_playing(10)
            await studio.page.get_by_role("button", name="Talk").click()
            await studio.until(lambda s: s["stream"]["talking"], "talking")
            numbers, mouth = await watch(studio, 200, (60, 105, 132, 162))
        await browser.close()
    # By media time, however many frames a busy machine has skipped: motion between two that were
    # shown is that of every frame between them.
    steps = np.diff(numbers)
    motion = np.repeat(np.abs(np.diff(mouth, axis=0)).mean(axis=1) / steps, steps)
    times = range(numbers[0] + 1, numbers[-1] + 1)
    loudness = np.array([np.sqrt(np.mean(heard[number] ** 2)) for number in times])
    motion, loudness = smooth(motion, 5), smooth(loudness, 5)
    speaking = loudness > 0.3 * loudness.max()
    silent = loudness < 0.02 * loudness.max()
    assert motion[speaking].mean() > 1.5 * motion[silent].mean()
    assert np.corrcoef(motion, loudness)[0, 1] > 0.4
    lags = range(-8, 9)
    best = max(lags, key=lambda lag: np.corrcoef(np.roll(motion, lag), loudness)[0, 1])
    assert abs(best) <= 4, "sound and mouth are further apart than one chunk"


async def test_a_thing_that_is_dragged_comes_along(server: RunningServer, browser: Browser) -> None:
    look = next(each for each in manifest()["looks"] if each["kind"] == "scene")
    home = np.array(look["objects"][0]["home"])
    target = SIZE / 2 + 0.5 * (SIZE / 2 - home)
    reach = int(look["objects"][0]["radius"])
    async with studio_at(browser, f"{server.http}/?scene={look['name']}") as it:
        await it.until_playing(10)
        pattern = patch(await it.frame(), home, reach)
        mouse = it.page.mouse
        await mouse.move(*await it.place(*home / SIZE))
        await mouse.down()
        await mouse.move(*await it.place(*target / SIZE), steps=20)
        await it.until_frame(
            lambda f: np.hypot(*(find(f, pattern) - target)) < 12, "the thing where the pointer is"
        )
        await mouse.up()
        await it.page.keyboard.press("Escape")
        await it.until_frame(
            lambda f: np.hypot(*(find(f, pattern) - home)) < 12, "the thing at home"
        )


def manifest() -> Any:
    return json.loads((ASSETS / "manifest.json").read_text())


def patch(frame: np.ndarray, centre: np.ndarray, reach: int) -> np.ndarray:
    """A square of the picture around a point (x, y) in pixels."""
    x, y = np.clip(np.round(centre).astype(int), reach, SIZE - reach)
    return frame[y - reach : y + reach, x - reach : x + reach].astype(float)


def find(frame: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Where a pattern is seen best, by squared difference: (x, y) of its centre.

    Quickly: this runs in the server's event loop.
    """
    image, wanted = (
        torch.from_numpy(x / 255.0).float().movedim(-1, 0)[None] for x in (frame, pattern)
    )
    energy = F.conv2d(image.square(), torch.ones_like(wanted))
    difference = (energy - 2 * F.conv2d(image, wanted))[0, 0]
    y, x = divmod(int(difference.argmin()), difference.shape[1])
    return np.array([x, y]) + pattern.shape[0] / 2


async def test_words_change_the_picture_and_unknown_ones_are_named(
    server: RunningServer, browser: Browser
) -> None:
    async with studio_at(browser, server.http) as studio:
        await studio.until_playing(5)
        before = await studio.frame()
        await studio.page.locator("#presets button").last.click()
        await studio.until_frame(
            lambda after: bool(np.abs(after.astype(int) - before.astype(int)).mean() > 4),
            "another picture",
        )
        await studio.page.locator("#prompt").fill("smiling zyzzyva")
        await studio.page.keyboard.press("Enter")
        await expect(studio.page.locator("#prompt-note")).to_contain_text("zyzzyva")
