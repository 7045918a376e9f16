"""The examples run against a real server and write what they promise."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from rollcast.client.audio_file import load_speech
from rollcast.client.mp4 import Mp4Writer
from rollcast.client.output_file import OutputFile
from rollcast.models.test_pattern import prompt_colour

from ..server.running import running
from ..server.world_pattern import PROMPTS, WorldPattern

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds_of(path: Path) -> float:
    """When the last frame is over."""
    with av.open(str(path)) as container:
        *_, last = container.decode(video=0)
        return float(last.time) + 1 / 25


async def test_voice_agent_speaks_the_whole_file(tmp_path: Path) -> None:
    tone = (9000 * np.sin(np.arange(12_800) * 0.2)).astype(np.int16)
    with (
        OutputFile(tmp_path / "said.mp4") as file,
        Mp4Writer(file, width=16, height=16, fps=25) as writer,
    ):
        writer.write_audio(tone, 0)
        writer.write_frame(np.zeros((16, 16, 3), np.uint8), 0)
    async with running() as server:
        speak = load("voice_agent").speak
        await speak(server.http, tmp_path / "said.mp4", tmp_path / "seen.mp4", None)
    loud = np.flatnonzero(np.abs(load_speech(tmp_path / "seen.mp4").astype(int)) > 4000)
    assert (loud[-1] - loud[0]) / 16_000 == pytest.approx(0.8, abs=0.05)


async def test_drag_and_prompt_records_its_time(tmp_path: Path) -> None:
    run = load("drag_and_prompt").run
    async with running() as server:
        await run(server.http, tmp_path / "drag.mp4", "grid", "a blue wall", 1.6)
    assert seconds_of(tmp_path / "drag.mp4") == pytest.approx(1.6, abs=0.08)


async def test_a_video_is_redrawn_as_long_as_it_lasts(tmp_path: Path) -> None:
    with (
        OutputFile(tmp_path / "seen.mp4") as file,
        Mp4Writer(file, width=320, height=240, fps=16) as writer,
    ):
        for number in range(32):
            writer.write_frame(np.full((240, 320, 3), (40, 180, 60), np.uint8), number * 62_500)
    async with running(lambda: [WorldPattern()], models=("world",)) as server:
        run = load("video_to_video").run
        await run(server.http, tmp_path / "seen.mp4", tmp_path / "made.mp4", PROMPTS[1])
    assert seconds_of(tmp_path / "made.mp4") == pytest.approx(2, abs=0.7)
    with av.open(str(tmp_path / "made.mp4")) as container:
        *_, last = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
    wanted = np.mean([prompt_colour(PROMPTS[1]), (40, 180, 60)], axis=0)
    assert np.abs(last[40:60, 60:100].mean(axis=(0, 1)) - wanted).max() < 30
