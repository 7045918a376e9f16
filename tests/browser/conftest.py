"""One real Chromium for all browser tests; each test has its own server and its own profile."""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from .studio import WAIT_S

COMMANDS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
"""The first is the same browser without the windows around its pages, which take a third of its
processor time even where nobody sees them."""
INSECURE_HOST = "lan.test"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
)
RATE = 48_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All browser tests share one event loop, because they share the browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def chromium() -> str:
    """Path of the browser. Skips without one, but a CI run has to have it."""
    given = os.environ.get("CHROMIUM")
    found = given or next((path for name in COMMANDS if (path := shutil.which(name))), None)
    if found is None:
        reason = f"no Chromium: install one of {', '.join(COMMANDS)} or set CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def voice_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake microphone hears, over and over: half a second of sound, half of silence."""
    time_s = np.arange(RATE) / RATE
    sound = np.where(time_s < 0.5, 0.5 * np.sin(2 * np.pi * 300 * time_s), 0.0)
    path = tmp_path_factory.mktemp("microphone") / "voice.wav"
    write_wav(path, sound, RATE)
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(voice_file: Path) -> AsyncIterator[Browser]:
    """A headless Chromium with a fake microphone."""
    # as long as for all else: five seconds, which is usual, are little on a busy machine
    expect.set_options(timeout=WAIT_S * 1e3)
    async with async_playwright() as playwright:
        instance = await playwright.chromium.launch(
            executable_path=chromium(),
            args=[*ARGUMENTS, f"--use-file-for-fake-audio-capture={voice_file}"],
        )
        yield instance
        await instance.close()


def write_wav(path: Path, sound: np.ndarray, rate: int) -> None:
    """Write mono PCM16 from samples in -1..1."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
