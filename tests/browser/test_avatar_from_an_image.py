"""Live Avatar's tiny model on the page: an image, a microphone, lips and sound on one clock."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from rollcast.models.picture import sample
from rollcast.server.config import ServerConfig
from rollcast.server.web.app import build_hosts

from ..server.running import running, until
from ..tiny_checkpoints import write_checkpoint
from .studio import studio_at

NAME, SIZE = "live-avatar", (64, 64)
START_S = 240.0


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_it_says_what_the_microphone_hears(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the embedded avatar: the same button, the same signs of who talks."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_checkpoint(NAME, tmp_path / "files")
    weights = (str(tmp_path / "files"),)
    config = ServerConfig(models=(NAME,), weights=weights, size=SIZE, threads=1)
    async with running(hosts=build_hosts(config), models=(NAME,), wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", START_S)
        async with studio_at(browser, server.http) as studio:
            page = studio.page
            await studio.until(lambda s: s["connection"]["code"] == "image_wanted", "the question")
            async with page.expect_file_chooser() as chooser:
                await page.locator("#curtain-action").click()
            await (await chooser.value).set_files(
                {"name": "face.jpg", "mimeType": "image/jpeg", "buffer": sample(256)}
            )
            await studio.until_playing(1)
            await expect(page.locator("#talk")).to_be_visible()
            await page.get_by_role("button", name="Talk", exact=True).click()
            await studio.until(lambda s: s["stream"]["received"], "audio received")
            await studio.until(lambda s: s["stream"]["talking"], "talking")
            snapshot = await studio.snapshot()
            assert snapshot["speech"]["talking"]
            assert (await studio.frame()).shape == (*SIZE, 3)
