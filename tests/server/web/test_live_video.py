"""StreamDiffusionV2 by the real server: a client's video goes in as JPEGs and comes out redrawn.

Its files are tiny random ones in the published format, the viewer is the Python client.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from rollcast.client import Frame, Stream, connect
from rollcast.models.contract import Controls, Model, StreamRequest
from rollcast.models.registry import load_model
from rollcast.server.config import ServerConfig
from rollcast.server.web.app import build_hosts

from ...tiny_checkpoints import write_checkpoint
from ..running import running, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

NAME, SIZE, START_S = "stream-diffusion-v2", (64, 32), 240.0
PROMPT, SEED, LATEST = "a red fox in the snow", 4, 24
"""`LATEST`: the last chunk with which the video may begin, on however busy a machine."""


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def still() -> np.ndarray:
    """What the camera sees all the time: a bright square, uint8 RGB [H, W, 3]."""
    width, height = SIZE
    frame = np.full((height, width, 3), 30, np.uint8)
    frame[8:24, 16:40] = (250, 120, 30)
    return frame


async def film(stream: Stream) -> None:
    while True:
        await stream.feed_video(still())
        await asyncio.sleep(1 / 16)


@pytest.mark.long
async def test_what_the_camera_sees_is_redrawn(tmp_path: Path) -> None:
    write_checkpoint(NAME, tmp_path / "bundle")
    folder = str(tmp_path / "bundle")
    config = ServerConfig(models=(NAME,), weights=(folder,), size=SIZE, threads=1)
    shown: dict[int, np.ndarray] = {}
    async with running(hosts=build_hosts(config), models=(NAME,), wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", START_S)
        async with connect(
            server.http, prompt=PROMPT, seed=SEED, codecs=("jpeg",), answer_timeout_s=60
        ) as stream:
            looks_at = stream.hello.models[0].inputs.video
            assert looks_at is not None and (looks_at.width, looks_at.height) == SIZE
            filming: asyncio.Task[None] | None = None
            seen = 0
            async for media in stream:
                if isinstance(media, Frame):
                    shown[media.seq] = media.image
                    filming = filming or asyncio.create_task(film(stream))
                    seen += bool(stream.stats and stream.stats.video_frames)
                if seen > 16:
                    break
            assert filming is not None
            filming.cancel()
    model = load_model(NAME, threads=1, weights=[folder], size=SIZE)
    count = max(shown) + 1
    last = {seq: image for seq, image in shown.items() if seq >= count - 8}
    most = 0.5 * distance(last, made(model, count, None))
    assert any(distance(last, made(model, count, begins)) < most for begins in range(LATEST))


def made(model: Model, count: int, begins: int | None) -> np.ndarray:
    """So many frames; from chunk `begins` on, None: never, the camera is seen."""
    state = model.start(StreamRequest(seed=SEED, prompt=PROMPT))
    video = np.repeat(still()[None], 4, axis=0)
    chunks: list[np.ndarray] = []
    while sum(map(len, chunks)) < count:
        films = begins is not None and len(chunks) >= begins
        chunks.append(model.step(state, Controls(video=video) if films else Controls()).frames)
    return np.concatenate(chunks)


def distance(shown: dict[int, np.ndarray], frames: np.ndarray) -> float:
    """Mean squared difference of pictures and the frames of the same number."""
    return float(np.mean([np.square(p.astype(float) - frames[k]).mean() for k, p in shown.items()]))
