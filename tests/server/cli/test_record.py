"""`rollcast record` against a real server: every frame, steered by a script."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rollcast.models.contract import Chunk, Controls
from rollcast.models.test_pattern import TestPattern, prompt_colour, read_barcode
from rollcast.server.cli.app import main

from ...pictures import RED, portrait
from ..other_models import BarePattern, CausalPattern
from ..running import running
from ..world_pattern import HEIGHT, PROMPTS, WIDTH, WorldPattern


async def record(url: str, path: Path, *options: str) -> list[np.ndarray]:
    with pytest.raises(SystemExit) as end:
        await asyncio.to_thread(main, ["record", url, str(path), *options])
    assert not end.value.code
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


async def test_every_frame_is_recorded_and_the_script_is_followed(tmp_path: Path) -> None:
    script = {
        "prompts": [{"t_ms": 700, "text": "a blue wall"}],
        "points": [{"t_ms": 100, "phase": "down", "x": 0.5, "y": 0.5}],
    }
    (tmp_path / "s.json").write_text(json.dumps(script))
    options = ("--seconds", "2", "--prompt", "a red wall", "--tracks", str(tmp_path / "s.json"))
    async with running() as server:
        frames = await record(server.http, tmp_path / "a.mp4", *options)
        assert not server.engine.streams
    assert [read_barcode(frame) for frame in frames] == list(range(50))
    band = [frame[14:18, 20:108].mean(axis=(0, 1)) for frame in frames]
    assert np.abs(band[0] - prompt_colour("a red wall")).max() < 30
    assert np.abs(band[-1] - prompt_colour("a blue wall")).max() < 30
    held = [frame[60:66, 60:66].mean() > 220 for frame in frames]
    assert not held[0]
    assert all(held[15:])


async def test_a_self_signed_server_needs_insecure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(self_signed=True, state_dir=tmp_path) as server:
        with pytest.raises(SystemExit) as end:
            await asyncio.to_thread(main, ["record", server.http, str(tmp_path / "a.mp4")])
        assert end.value.code == 4
        assert "--insecure" in capsys.readouterr().err
        frames = await record(server.http, tmp_path / "a.mp4", "--insecure", "--seconds", "0.4")
        assert len(frames) == 10


async def test_a_picture_is_the_avatar(tmp_path: Path) -> None:
    (tmp_path / "me.jpg").write_bytes(portrait(RED))
    options = ("--picture", str(tmp_path / "me.jpg"), "--seconds", "0.4")
    async with running() as server:
        frames = await record(server.http, tmp_path / "a.mp4", *options)
    for frame in frames:
        assert np.abs(frame[40:120, 4:12].astype(int) - RED).max() < 40


async def test_chunks_of_several_lengths_are_recorded_frame_by_frame(tmp_path: Path) -> None:
    async with running(lambda: [CausalPattern()]) as server:
        frames = await record(server.http, tmp_path / "a.mp4", "--seconds", "1.2")
    assert [read_barcode(frame) for frame in frames] == list(range(30))


async def test_a_model_without_sound_gives_a_video_without_a_track_for_it(tmp_path: Path) -> None:
    async with running(lambda: [BarePattern()], models=("bare",)) as server:
        frames = await record(server.http, tmp_path / "a.mp4", "--seconds", "0.6")
    assert len(frames) == 12
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert not container.streams.audio


async def test_speech_for_a_model_that_hears_none_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.json").write_text('{"prompts": [{"t_ms": 0, "text": "a wall"}]}')
    async with running(lambda: [BarePattern()], models=("bare",)) as server:
        with pytest.raises(SystemExit) as end:
            options = ["record", server.http, str(tmp_path / "a.mp4")]
            await asyncio.to_thread(main, [*options, "--tracks", str(tmp_path / "s.json")])
    assert end.value.code == 2 and "takes no prompt, only seed" in capsys.readouterr().err


class Picky(TestPattern):
    """Knows no word with a q, neither of the first prompt nor of later ones."""

    def step(self, state: Any, controls: Controls) -> Chunk:
        chunk = super().step(state, controls)
        new = controls.prompt is not None or chunk.index == 0
        words = tuple(word for word in state.prompt.split() if new and "q" in word)
        return replace(chunk, ignored_words=words)


async def test_words_that_mean_nothing_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = {"prompts": [{"t_ms": 400, "text": "a quince"}]}
    (tmp_path / "s.json").write_text(json.dumps(script))
    options = ("--seconds", "1.5", "--prompt", "a quux", "--tracks", str(tmp_path / "s.json"))
    async with running(lambda: [Picky()]) as server:
        await record(server.http, tmp_path / "a.mp4", *options)
    said = capsys.readouterr().err
    assert said.count("does not know quux") == said.count("does not know quince") == 1


def write_video(path: Path, colours: list[tuple[int, int, int]], fps: int = 16) -> None:
    """Two seconds of each colour: for one of them a busy machine may see nothing."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for colour in (colour for colour in colours for _ in range(2 * fps)):
            image = np.full((240, 320, 3), colour, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


async def test_a_stream_starts_from_an_image_and_the_camera_moves(tmp_path: Path) -> None:
    (tmp_path / "start.jpg").write_bytes(portrait(RED, side=900))
    async with running(lambda: [WorldPattern()], models=("world",)) as server:
        options = ("--seconds", "2", "--image", str(tmp_path / "start.jpg"))
        frames = await record(server.http, tmp_path / "a.mp4", *options, "--camera", "forward=0.5")
    assert len(frames) == 32 and frames[0].shape == (HEIGHT, WIDTH, 3)
    assert all(
        np.abs(frame[24:80, 2:8].reshape(-1, 3).mean(0) - RED).max() < 40 for frame in frames
    )
    white = [int((frame[-4, :, 1] > 127).sum()) for frame in frames]
    assert white[0] < 10 and white[-1] > 40 and white == sorted(white)


async def test_a_video_is_looked_at_while_it_plays(tmp_path: Path) -> None:
    write_video(tmp_path / "in.mp4", [(200, 40, 40), (40, 180, 60)])
    async with running(lambda: [WorldPattern()], models=("world",)) as server:
        options = ("--seconds", "4.5", "--video", str(tmp_path / "in.mp4"), "--prompt", PROMPTS[1])
        frames = await record(server.http, tmp_path / "a.mp4", *options)
    blue = np.array(prompt_colour(PROMPTS[1]))
    seen = [frame[40:60, 60:100].reshape(-1, 3).mean(0) for frame in frames]

    def showing(colour: tuple[int, int, int]) -> list[int]:
        mixed = (blue + colour) / 2
        return [k for k, mean in enumerate(seen) if np.abs(mean - mixed).max() < 30]

    # when exactly a busy machine sends what it reads is open; the order is not
    red, green = showing((200, 40, 40)), showing((40, 180, 60))
    assert red and green and red[-1] < green[0] and green[-1] == len(frames) - 1


async def test_what_the_model_lacks_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running() as server:
        with pytest.raises(SystemExit) as end:
            command = ["record", server.http, str(tmp_path / "a.mp4"), "--camera", "yaw=5"]
            await asyncio.to_thread(main, command)
        assert end.value.code and "takes no camera" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["record", server.http, str(tmp_path / "a.mp4"), "--camera", "sideways=1"])
    assert end.value.code == 2
