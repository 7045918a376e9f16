"""Live Avatar by the real server: a picture, a voice, and what a client sees and hears of them.

Its files are tiny random ones in the published formats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rollcast.client import Frame, Refused, Stream, connect
from rollcast.models.contract import Controls, Model, StreamRequest
from rollcast.models.picture import sample
from rollcast.models.registry import load_model
from rollcast.server.config import ServerConfig
from rollcast.server.web.app import build_hosts

from ...models.live_avatar.tiny_speech import babble
from ...tiny_checkpoints import write_checkpoint
from ..running import running, until
from .test_published_models import distance

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

NAME, SIZE, START_S = "live-avatar", (64, 64), 240.0
FIRST = "a red fox in the snow"
AHEAD = 3200
"""Samples of its look-ahead."""


class Shown:
    """What an avatar's stream shows, and its sound on the same clock from its beginning."""

    def __init__(self) -> None:
        self.frames: dict[int, np.ndarray] = {}
        self.sound = np.zeros(60 * 16_000, np.int16)
        self.end = 0

    async def watch(self, stream: Stream, until: Callable[[], bool]) -> None:
        """Until something is true."""
        async for media in stream:
            if isinstance(media, Frame):
                self.frames[media.seq] = media.image
            else:
                start = round(media.pts_us * 16_000 / 1e6)
                self.end = start + len(media.samples)
                self.sound[start : self.end] = media.samples
            if until():
                break

    def last_frame(self) -> int:
        """The number of the newest frame."""
        return max(self.frames, default=-1)


@pytest.mark.long
async def test_it_speaks_in_step_with_its_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said comes back with frames that the model makes of just that, until a barge-in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_checkpoint(NAME, tmp_path / "files")
    folder, voice, image = str(tmp_path / "files"), babble(1.3), sample(*SIZE)
    config = ServerConfig(models=(NAME,), weights=(folder,), size=SIZE, threads=1)
    shown = Shown()
    async with running(hosts=build_hosts(config), models=(NAME,), wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", START_S)
        with pytest.raises(Refused, match="starts from an image"):
            async with connect(server.http):
                pass
        async with connect(
            server.http,
            image=image,
            prompt=FIRST,
            seed=4,
            codecs=("jpeg",),
            pace="reader",
            answer_timeout_s=60,
        ) as stream:
            await shown.watch(stream, lambda: shown.last_frame() >= 8)
            await stream.begin_audio("one")
            await stream.feed(voice)
            await stream.end_audio()
            await shown.watch(stream, lambda: bool(shown.sound[: shown.end - 7680].any()))
            begin = int(np.flatnonzero(shown.sound)[0] - np.flatnonzero(voice)[0])
            spoken = asyncio.ensure_future(stream.spoken("one"))
            await shown.watch(stream, lambda: spoken.done() and shown.end > begin + len(voice))
            assert spoken.result().phase == "ended"
            said, heard = shown.sound.copy(), shown.end
            assert np.array_equal(said[begin : begin + len(voice)], voice)
            await stream.begin_audio("two")
            await stream.feed(babble(6.0, seed=3))
            await shown.watch(stream, lambda: bool(shown.sound[heard:].any()))
            cleared = asyncio.ensure_future(stream.clear_audio())
            await shown.watch(stream, cleared.done)
            over = await stream.spoken("two")
            assert over.phase == "cleared" and 0 <= over.played_ms < 4000
            await shown.watch(stream, lambda: shown.end > heard + 10 * 7680)
            assert not shown.sound[shown.end - 7680 : shown.end].any(), "it has stopped"
    model = load_model(NAME, threads=1, weights=[folder], size=SIZE)
    # a chunk was fed what came back later by the look-ahead
    fed, log, start = said[AHEAD:heard], list[Controls](), 0
    while start + 7680 <= len(fed):
        length = 7680 if log else 5760
        log.append(Controls(audio=fed[start : start + length]))
        start += length
    wanted, silent = spoken_by(model, image, log), spoken_by(model, image, [Controls()] * len(log))
    first = begin * 25 // 16_000
    pictures = {k: p for k, p in shown.frames.items() if first <= k < len(wanted)}
    assert len(pictures) > 10
    assert distance(pictures, wanted) < distance(pictures, silent)


def spoken_by(model: Model, image: bytes, log: list[Controls]) -> np.ndarray:
    """The frames of an avatar's stream that is begun with the first prompt."""
    state = model.start(StreamRequest(seed=4, prompt=FIRST, image=image))
    return np.concatenate([model.step(state, controls).frames for controls in log])
