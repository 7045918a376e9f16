"""The page in a real browser, with hands and eyes for the tests."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from playwright.async_api import Browser, Page

from rollcast.models.test_pattern import SIZE

WAIT_S = 45.0

READ_FRAME = """() => {
  const { width, height, seq, rgba } = rollcast.readFrame();
  let text = "";
  for (let at = 0; at < rgba.length; at += 8192) {
    text += String.fromCharCode(...rgba.subarray(at, at + 8192));
  }
  return { width, height, seq, data: btoa(text) };
}"""

# At every refresh: the number of a new frame, the number painted into it, and the band's colour.
# The colour is a mean: a lossy codec's single pixel may be some way off.
WATCH_FRAMES = """async (count) => {
  const seen = [];
  let last = -1;
  while (seen.length < count) {
    await new Promise(requestAnimationFrame);
    const { width, seq, rgba } = rollcast.readFrame();
    if (seq === last || seq < 0) continue;
    last = seq;
    const pixel = (x, y) => [...rgba.subarray((y * width + x) * 4, (y * width + x) * 4 + 3)];
    let number = 0;
    for (let bit = 0; bit < 16; bit += 1) {
      const [red, green, blue] = pixel(4 + 8 * bit, 4);
      number = number * 2 + (red + green + blue > 381 ? 1 : 0);
    }
    const band = [0, 0, 0];
    for (let at = 0; at < 128; at += 1) {
      pixel(56 + (at % 16), 12 + (at >> 4)).forEach((value, k) => { band[k] += value / 128; });
    }
    const { playheadUs } = rollcast.snapshot().player;
    seen.push({ seq, number, atMs: performance.now(), playheadUs, band });
  }
  return seen;
}"""


@dataclass
class Studio:
    """One tab with the page in it."""

    page: Page
    problems: list[str] = field(default_factory=list)
    """Uncaught errors, console errors and broken rules of the content security policy."""

    async def snapshot(self) -> dict[str, Any]:
        return await self.page.evaluate("rollcast.snapshot()")

    async def frame(self) -> np.ndarray:
        """The frame on screen, uint8 RGB [H, W, 3]."""
        shown = await self.page.evaluate(READ_FRAME)
        pixels = np.frombuffer(base64.b64decode(shown["data"]), np.uint8)
        return pixels.reshape(shown["height"], shown["width"], 4)[..., :3]

    async def watch(self, frames: int) -> list[dict[str, Any]]:
        """What the next new frames show; test pattern only."""
        return await self.page.evaluate(WATCH_FRAMES, frames)

    async def until(
        self, condition: Callable[[dict[str, Any]], bool], what: str, limit_s: float = WAIT_S
    ) -> dict[str, Any]:
        """Poll the snapshot until the condition holds."""
        snapshot: dict[str, Any] = {}
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    snapshot = await self._early_snapshot()
                    if snapshot and condition(snapshot):
                        return snapshot
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(
                f"not in {limit_s:g} s: {what}; the page says {snapshot}"
            ) from None

    async def until_frame(
        self, condition: Callable[[np.ndarray], bool], what: str, limit_s: float = WAIT_S
    ) -> np.ndarray:
        """Poll the picture until the condition holds."""
        try:
            async with asyncio.timeout(limit_s):
                while not condition(frame := await self.frame()):
                    # reading a frame takes the page longer than showing one
                    await asyncio.sleep(0.15)
                return frame
        except TimeoutError:
            raise AssertionError(f"not seen in {limit_s:g} s: {what}") from None

    async def until_state(self, state: str, limit_s: float = WAIT_S) -> dict[str, Any]:
        """Wait for a state of the status pill."""
        return await self.until(lambda s: s["status"]["state"] == state, state, limit_s)

    async def until_playing(self, frames: int = 3) -> dict[str, Any]:
        """Wait until it is live and this many more frames were shown."""
        start = (await self.until_state("live"))["player"]["shown"]
        return await self.until(lambda s: s["player"]["shown"] >= start + frames, "frames")

    async def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture, 0..1, is in the window."""
        box = await self.page.locator("#stage").bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    async def _early_snapshot(self) -> dict[str, Any]:
        """Empty while the page's script has not run yet."""
        return await self.page.evaluate("window.rollcast ? rollcast.snapshot() : {}")


@asynccontextmanager
async def studio_at(
    browser: Browser, url: str, *, expected_problems: bool = False, **context: Any
) -> AsyncIterator[Studio]:
    """Open the page in a fresh profile; it must not have complained by the end."""
    options = {"viewport": {"width": 1280, "height": 800}, **context}
    profile = await browser.new_context(**options)
    try:
        studio = await open_tab(await profile.new_page(), url)
        yield studio
        assert expected_problems or not studio.problems, studio.problems
    finally:
        await profile.close()


async def open_tab(page: Page, url: str) -> Studio:
    """Load the page into a tab that is open already."""
    studio = Studio(page)
    page.on("pageerror", lambda error: studio.problems.append(f"error: {error}"))
    page.on(
        "console",
        lambda said: studio.problems.append(said.text) if said.type == "error" else None,
    )
    await page.goto(url)
    return studio


def disc_at(frame: np.ndarray, x: float, y: float) -> bool:
    """Whether the test pattern's track disc or anchor square covers a point, 0..1."""
    row, column = round(y * (SIZE - 1)), round(x * (SIZE - 1))
    red, green, _ = frame[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3).mean(axis=0)
    return bool(red > 225 and green > 195)


def band_colour(frame: np.ndarray) -> np.ndarray:
    """The test pattern's band, which has the prompt's colour."""
    return frame[10:22, 4:124].reshape(-1, 3).mean(axis=0)


def mouth_rows(frame: np.ndarray) -> int:
    """Height of the test pattern's dark bar, which grows with the loudness."""
    column = frame[72:104, 60:68].astype(int).sum(axis=2).mean(axis=1)
    return int((column < 130).sum())
