"""Track-v0 by the real server: an image, fingers, an anchor, a camera, a prompt and a seed.

Its files are tiny random ones in the published format, the viewer is the Python client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import numpy as np
import pytest

from rollcast.client import Applied, Frame, Refused, Stream, TrackPoint, connect
from rollcast.models import picture
from rollcast.models.contract import CameraMotion, Chunk, Controls, StreamRequest, TrackEvent
from rollcast.models.registry import load_model
from rollcast.server.config import ServerConfig
from rollcast.server.web.app import build_hosts

from ...tiny_checkpoints import write_checkpoint
from ..running import running, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

NAME, SIZE, START_S = "track-v0", (64, 32), 240.0
FIRST, SECOND = "a red fox in the snow", "a paper boat on the green sea"
Shown = dict[tuple[int, int], np.ndarray]
"""Pictures by their chunk and their number in the stream."""


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


async def watch(stream: Stream, chunk: int, shown: Shown) -> None:
    """Keep what is shown until something of this chunk was."""
    async for media in stream:
        if isinstance(media, Frame):
            shown[media.chunk, media.seq] = media.image
            if media.chunk >= chunk:
                break


async def answered(stream: Stream, asked: Awaitable[Applied], shown: Shown) -> Applied:
    """What a control is answered; nothing is made, and so nothing applied, while nobody reads."""
    answer = asyncio.ensure_future(asked)
    while not answer.done():
        await watch(stream, 0, shown)
    return answer.result()


def points(*events: tuple[int, str, float, float]) -> list[TrackPoint]:
    return [TrackPoint(id=key, phase=phase, x=x, y=y) for key, phase, x, y in events]  # type: ignore[arg-type]


def told(*events: tuple[int, str, float, float]) -> Controls:
    return Controls(tracks=tuple(TrackEvent(*event) for event in events))  # type: ignore[arg-type]


@pytest.mark.long
async def test_all_that_a_viewer_does_reaches_the_picture(tmp_path: Path) -> None:
    """What the client is shown is what the model makes of the same log, chunk by chunk."""
    write_checkpoint(NAME, tmp_path / "bundle")
    config = ServerConfig(models=(NAME,), weights=(str(tmp_path / "bundle"),), size=SIZE, threads=1)
    one = ((1, "down", 0.3, 0.4), (1, "move", 0.8, 0.5))
    two = ((2, "down", 0.7, 0.8), (2, "move", 0.2, 0.6), (3, "anchor", 0.9, 0.1))
    pan = CameraMotion((0.5, 0.0, 0.2), (0.0, 0.0, 30.0))
    shown: Shown = {}
    log: dict[int, Controls] = {}
    async with running(hosts=build_hosts(config), models=(NAME,), wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", START_S)
        with pytest.raises(Refused, match="image"):
            async with connect(server.http, prompt=FIRST):
                pass
        async with connect(
            server.http,
            prompt=FIRST,
            seed=4,
            image=picture.sample(300, 200),
            codecs=("jpeg",),
            pace="reader",
            answer_timeout_s=60,
        ) as stream:
            assert stream.ready.has_image
            await watch(stream, 1, shown)
            asked = [
                (lambda: stream.tracks(points(*one)), told(*one)),
                (lambda: stream.tracks(points(*two)), told(*two)),
                (lambda: stream.prompt(SECOND), Controls(prompt=SECOND)),
                (
                    lambda: stream.camera(right=0.5, forward=0.2, roll=30.0),
                    Controls(camera=pan),
                ),
                (
                    lambda: stream.tracks(points((1, "up", 0.8, 0.5))),
                    told((1, "up", 0.8, 0.5)),
                ),
                (
                    lambda: stream.image(picture.sample(200, 300)),
                    # the server lets go of all tracks with it
                    Controls(image=cut(200, 300), clear_tracks=None),
                ),
                (lambda: stream.seed(9), Controls(seed=9)),
            ]
            for ask, controls in asked:
                applied = await answered(stream, ask(), shown)
                log[applied.chunk] = controls
                await watch(stream, applied.chunk + 1, shown)
    assert len(log) == len(asked)
    model = load_model(NAME, threads=1, weights=[str(tmp_path / "bundle")], size=SIZE)
    state = model.start(StreamRequest(seed=4, prompt=FIRST, image=cut(300, 200)))
    begins = 0
    for number in range(max(log) + 1):
        before = model.snapshot(state)
        chunk = model.step(state, log.get(number, Controls()))
        if number in log:
            less = model.step(model.restore(before), Controls())
            near, far = (distance(shown, each, number, begins) for each in (chunk, less))
            # a jpeg is nearer to its own picture than to that of a log without this control
            assert near < far, (number, log[number])
        begins += len(chunk.frames)


def cut(width: int, height: int) -> bytes:
    """The sample as the server hands it to the model."""
    return picture.fitted(picture.sample(width, height), *SIZE)


def distance(shown: Shown, chunk: Chunk, number: int, begins: int) -> float:
    """Mean absolute difference of what was shown of a chunk, which `begins` there, and a log's."""
    frames = chunk.frames
    seen = {seq - begins: image for (chunk, seq), image in shown.items() if chunk == number}
    assert seen, f"nothing of chunk {number} was shown"
    # a log without a new start has another number of frames
    pairs = [(image, frames[min(k, len(frames) - 1)]) for k, image in seen.items()]
    return float(np.mean([np.abs(image.astype(float) - frame).mean() for image, frame in pairs]))
