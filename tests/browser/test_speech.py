"""Speech in, sound out: microphone, audio file, interruption, one clock for sound and picture."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Browser, expect

from ..server.running import running
from .conftest import write_wav
from .studio import WAIT_S, Studio, mouth_rows, studio_at

RATE = 44_100


def tone(path: Path, seconds: float, rate: int = RATE) -> Path:
    time_s = np.arange(round(seconds * rate)) / rate
    write_wav(path, 0.4 * np.sin(2 * np.pi * 220 * time_s), rate)
    return path


async def mouth_over(studio: Studio, seconds: float) -> np.ndarray:
    """The mouth's height at short intervals."""
    heights = []
    async with asyncio.timeout(WAIT_S):
        for _ in range(round(seconds / 0.1)):
            heights.append(mouth_rows(await studio.frame()))
            await asyncio.sleep(0.08)
    return np.array(heights)


async def test_the_microphone_moves_the_mouth(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        assert mouth_rows(await studio.frame()) <= 6
        await expect(studio.page.locator("#meter")).to_be_hidden()
        await studio.page.get_by_role("button", name="Talk").click()
        await studio.until(lambda s: s["stream"]["received"], "audio received")
        await studio.until(lambda s: s["stream"]["talking"], "talking")
        await expect(studio.page.locator("#chip-received")).to_have_attribute("data-on", "true")
        await expect(studio.page.locator("#meter")).to_be_visible()
        heights = await mouth_over(studio, 2.5)
        # Half a second of sound, half of silence, over and over.
        assert heights.max() >= 12
        assert heights.min() <= 6
        snapshot = await studio.snapshot()
        assert snapshot["speech"]["talking"]
        assert snapshot["speech"]["lost"] == 0
        assert not snapshot["speech"]["sound"], "loudspeakers would feed back"
        await studio.page.keyboard.press("t")
        await studio.until(lambda s: not s["stream"]["received"], "no more audio")
        await studio.until(lambda s: not s["stream"]["talking"], "silence")


@pytest.mark.long
async def test_a_browser_that_will_not_mix_rates_is_resampled_for(browser: Browser) -> None:
    """Firefox refuses a microphone of another rate than the context's."""
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.evaluate(
            """() => {
              const real = AudioContext.prototype.createMediaStreamSource;
              AudioContext.prototype.createMediaStreamSource = function (stream) {
                if (this.sampleRate === 16000) throw new DOMException("", "NotSupportedError");
                return real.call(this, stream);
              };
            }"""
        )
        await studio.page.keyboard.press("t")
        await studio.until(lambda s: s["stream"]["talking"], "talking")
        heights = await mouth_over(studio, 1.5)
        assert heights.max() >= 12
        assert heights.min() <= 6


@pytest.mark.parametrize(
    ("error", "title"),
    [
        ("NotAllowedError", "The microphone is blocked"),
        pytest.param("NotFoundError", "No microphone found", marks=pytest.mark.long),
        pytest.param("NotReadableError", "The microphone is in use", marks=pytest.mark.long),
    ],
)
async def test_why_there_is_no_microphone_is_said(browser: Browser, error: str, title: str) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.evaluate(
            """(name) => {
              navigator.mediaDevices.getUserMedia = async () => {
                throw new DOMException("", name);
              };
            }""",
            error,
        )
        await studio.page.locator("#talk").click()
        await expect(studio.page.locator("#mic-help-title")).to_have_text(title)
        await expect(studio.page.locator("#talk")).to_have_attribute("aria-pressed", "false")
        assert (await studio.snapshot())["status"]["state"] == "live"


@pytest.mark.long
async def test_an_audio_file_is_spoken_and_heard(browser: Browser, tmp_path: Path) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.locator("#file-input").set_input_files(tone(tmp_path / "a.wav", 2.5))
        await expect(studio.page.locator("#file-name")).to_have_text("a.wav")
        await studio.until(lambda s: s["stream"]["talking"], "talking")
        await expect(studio.page.locator("#sound")).to_have_attribute("aria-pressed", "true")
        heard = await studio.until(lambda s: s["speech"]["heardUs"] is not None, "sound")
        assert heard["speech"]["sound"]
        assert (await mouth_over(studio, 1.0)).max() >= 12
        await studio.until(lambda s: not s["stream"]["talking"], "the end of the file")
        assert (await studio.snapshot())["speech"]["file"] is None


@pytest.mark.long
async def test_sound_and_picture_share_one_clock(browser: Browser, tmp_path: Path) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.keyboard.press("m")
        await studio.until(lambda s: s["speech"]["heardUs"] is not None, "sound")
        await asyncio.sleep(0.5)
        skews_ms = []
        for _ in range(40):
            snapshot = await studio.snapshot()
            heard_us = snapshot["speech"]["heardUs"]
            if heard_us is not None:
                skews_ms.append((snapshot["player"]["playheadUs"] - heard_us) / 1000)
            await asyncio.sleep(0.02)
        assert len(skews_ms) > 30
        assert abs(float(np.median(skews_ms))) < 25
        dropped = (await studio.snapshot())["player"]["dropped"]
        await studio.page.keyboard.press("m")
        await studio.until(lambda s: s["speech"]["heardUs"] is None, "silence")
        seen = await studio.watch(10)
        assert seen[-1]["seq"] > seen[0]["seq"]
        assert (await studio.snapshot())["player"]["dropped"] - dropped < 10


async def test_an_interruption_silences_at_once(browser: Browser, tmp_path: Path) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.locator("#file-input").set_input_files(tone(tmp_path / "long.wav", 20))
        await studio.until(lambda s: s["stream"]["talking"], "talking")
        await studio.until_frame(lambda f: mouth_rows(f) >= 12, "the mouth open")
        await studio.page.get_by_role("button", name="Interrupt").click()
        # Long before the file would end.
        await studio.until(lambda s: not s["stream"]["talking"], "silence", limit_s=10)
        assert (await studio.snapshot())["speech"]["file"] is None
        await studio.until_frame(lambda f: mouth_rows(f) <= 6, "the mouth closed", limit_s=5)
        assert (await mouth_over(studio, 0.5)).max() <= 6


async def test_a_file_that_is_no_audio_is_refused_in_words(
    browser: Browser, tmp_path: Path
) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("this is not sound")
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.locator("#file-input").set_input_files(text)
        notice = studio.page.locator(".notice")
        await expect(notice).to_contain_text("cannot decode the file")
        assert (await studio.snapshot())["speech"]["file"] is None


@pytest.mark.long
async def test_a_recording_has_picture_and_sound(browser: Browser, tmp_path: Path) -> None:
    import av

    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await studio.page.keyboard.press("r")
        await expect(studio.page.locator("#recording")).to_be_visible()
        await studio.until_playing(37)
        async with studio.page.expect_download() as saving:
            await studio.page.keyboard.press("r")
        file = tmp_path / (await saving.value).suggested_filename
        await (await saving.value).save_as(file)
        with av.open(str(file)) as recording:
            assert [stream.type for stream in recording.streams] in (
                ["video", "audio"],
                ["audio", "video"],
            )
            assert recording.duration is not None, "players show how long it is and can seek"
            lasts_s = recording.duration / av.time_base
            times = [frame.time for frame in recording.decode(video=0)]
        assert 20 <= len(times) <= 80
        assert max(times) - 0.1 <= lasts_s <= max(times) + 0.6
        await expect(studio.page.locator("#recording")).to_be_hidden()


async def test_a_screenshot_is_a_picture_of_the_stage(browser: Browser, tmp_path: Path) -> None:
    from PIL import Image

    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        async with studio.page.expect_download() as saving:
            await studio.page.keyboard.press("s")
        file = tmp_path / (await saving.value).suggested_filename
        await (await saving.value).save_as(file)
        with Image.open(file) as picture:
            assert picture.size == (512, 512)
            red, green, blue = np.asarray(picture)[60, 256, :3].astype(int)
        assert red > 150 > green + 60 and blue < 90
