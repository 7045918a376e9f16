"""Published models by the real server: `rollcast serve`'s hosts, processes and the Python client.

Their files are tiny random ones in the published formats.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rollcast.client import Frame, Refused, Stream, connect
from rollcast.models.contract import Controls, Model, StreamRequest
from rollcast.models.picture import fitted, sample
from rollcast.models.registry import load_model
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.server.config import ServerConfig
from rollcast.server.web.app import build_hosts

from ...models.live_avatar.tiny_speech import babble
from ...tiny_checkpoints import write_checkpoint
from ..running import running, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

START_S = 240.0
SIZE = (64, 32)
AVATAR_SIZE = (64, 64)
AHEAD = 3200
"""Samples of an avatar's look-ahead."""
FIRST, SECOND = "a red fox in the snow", "a paper boat on the green sea"


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder with a preset's files."""

    def folder(name: str) -> Path:
        path = tmp_path_factory.mktemp(name)
        write_checkpoint(name, path)
        return path

    return folder


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


async def watch(stream: Stream, last_seq: int) -> dict[int, np.ndarray]:
    """Pictures by their seq, up to this one; on a busy machine some are skipped."""
    seen: dict[int, np.ndarray] = {}
    async for media in stream:
        if isinstance(media, Frame):
            seen[media.seq] = media.image
            if media.seq >= last_seq:
                break
    return seen


SERVED = {
    "self-forcing": 0,
    "reward-forcing": 0,
    "longlive": 0,
    "sgf-plus": 0,
    "rolling-forcing": 4,
    "longlive-2": 0,
}
"""How many chunks later than it was obeyed a prompt is looked for: a joint window is slower."""


@pytest.mark.parametrize("name", SERVED)
async def test_a_prompt_a_seed_and_a_switch_reach_the_picture(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    """What the client is shown is what the model makes of the same log, chunk by chunk."""
    folder, info = str(folder_of(name)), preset_named(name).info(SIZE)
    usual, first = info.chunk_frames, info.first_chunk_frames or info.chunk_frames
    config = ServerConfig(models=(name,), weights=(folder,), size=SIZE, threads=1)
    async with running(hosts=build_hosts(config), models=(name,), wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", START_S)
        async with connect(
            server.http, prompt=FIRST, seed=4, codecs=("jpeg",), pace="reader", answer_timeout_s=60
        ) as stream:
            shown = await watch(stream, first - 1)
            applied = await stream.prompt(SECOND)
            chunks = applied.chunk + 1 + SERVED[name]
            shown |= await watch(stream, first + usual * (chunks - 1) - 1)
    model = load_model(name, threads=1, weights=[folder], size=SIZE)
    switch = [Controls(prompt=SECOND if k == applied.chunk else None) for k in range(chunks)]
    wanted = made(model, 4, switch)
    assert set(shown) <= set(range(len(wanted))) and len(shown) > 9
    # a jpeg is nearer to its own picture than to that of another seed, or without the new prompt
    assert distance(shown, wanted) < distance(shown, made(model, 5, switch))
    unswitched = made(model, 4, [Controls()] * len(switch))
    last = {k: picture for k, picture in shown.items() if k >= len(wanted) - usual}
    assert distance(last, wanted) < distance(last, unswitched)


def image(seed: int) -> bytes:
    """A PNG of coloured squares, larger than the frames and of another shape."""
    colours = np.random.default_rng(seed).integers(0, 255, (3, 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).resize((160, 96), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["causal-forcing-framewise", "sgf-plus", "longlive-2"])
async def test_an_image_starts_a_stream_and_another_one_starts_it_anew(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    """Before the first chunk, as a chunk of its own, and within the first chunk."""
    folder = str(folder_of(name))
    config = ServerConfig(models=(name,), weights=(folder,), size=SIZE, threads=1)
    async with running(hosts=build_hosts(config), models=(name,), wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", START_S)
        async with connect(
            server.http,
            prompt=FIRST,
            seed=4,
            image=image(1),
            codecs=("jpeg",),
            pace="reader",
            answer_timeout_s=60,
        ) as stream:
            shown = await watch(stream, 4)
            # nothing is made while nobody reads, and so nothing is applied
            change = asyncio.create_task(stream.image(image(2)))
            shown |= await watch(stream, 100)
            applied = await change
    model = load_model(name, threads=1, weights=[folder], size=SIZE)
    # what the server hands on: the image cut to the size of the frames
    first, second = (fitted(image(seed), *SIZE) for seed in (1, 2))
    log = [Controls(image=second if k == applied.chunk else None) for k in range(40)]
    wanted = made(model, 4, log, first)
    plain = [Controls()] * len(log)
    assert len(shown) > 5 and max(shown) < len(wanted)
    assert distance(shown, wanted) < distance(shown, made(model, 4, log))
    assert distance(shown, wanted) < distance(shown, made(model, 4, plain, first))


def made(model: Model, seed: int, log: list[Controls], start: bytes | None = None) -> np.ndarray:
    """The frames of a stream that is begun with the first prompt, and from an image."""
    state = model.start(StreamRequest(seed=seed, prompt=FIRST, image=start))
    return np.concatenate([model.step(state, controls).frames for controls in log])


def distance(shown: dict[int, np.ndarray], frames: np.ndarray) -> float:
    """Mean absolute difference of pictures and the frames of the same number."""
    return float(np.mean([np.abs(p.astype(float) - frames[k]).mean() for k, p in shown.items()]))


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


async def test_an_avatar_speaks_in_step_with_its_sound(folder_of: Callable[[str], Path]) -> None:
    """What is said comes back with frames that the model makes of just that, until a barge-in."""
    folder, voice, image = str(folder_of("live-avatar")), babble(1.3), sample(*AVATAR_SIZE)
    config = ServerConfig(models=("live-avatar",), weights=(folder,), size=AVATAR_SIZE, threads=1)
    shown = Shown()
    async with running(
        hosts=build_hosts(config), models=("live-avatar",), wait_ready=False
    ) as server:
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
            await shown.watch(stream, lambda: shown.sound[: shown.end - 7680].any())
            spoken = asyncio.ensure_future(stream.spoken("one"))
            await shown.watch(stream, spoken.done)
            assert spoken.result().phase == "ended"
            said, heard = shown.sound.copy(), shown.end
            begin = int(np.flatnonzero(said)[0] - np.flatnonzero(voice)[0])
            assert np.array_equal(said[begin : begin + len(voice)], voice)
            await stream.begin_audio("two")
            await stream.feed(babble(6.0, seed=3))
            await shown.watch(stream, lambda: shown.sound[heard:].any())
            cleared = asyncio.ensure_future(stream.clear_audio())
            await shown.watch(stream, cleared.done)
            over = await stream.spoken("two")
            assert over.phase == "cleared" and 0 <= over.played_ms < 4000
            await shown.watch(stream, lambda: shown.end > heard + 10 * 7680)
            assert not shown.sound[shown.end - 7680 : shown.end].any(), "it has stopped"
    model = load_model("live-avatar", threads=1, weights=[folder], size=AVATAR_SIZE)
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
