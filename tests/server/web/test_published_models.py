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
import simplejpeg
from PIL import Image

from rollcast.client import Frame, Stream, connect
from rollcast.models.contract import Controls, Model, StreamRequest
from rollcast.models.picture import fitted
from rollcast.models.registry import load_model
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.server.config import ServerConfig
from rollcast.server.media.encoder import JpegEncoder
from rollcast.server.web.app import build_hosts

from ...tiny_checkpoints import write_checkpoint
from ..running import running, until

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.timeout(600)]

START_S = 240.0
SIZE = (64, 32)
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


@pytest.mark.long
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
            # nothing is made while nobody reads, and so nothing is applied
            change = asyncio.create_task(stream.prompt(SECOND))
            while not change.done():
                shown |= await watch(stream, max(shown) + 1)
            applied = await change
            ends = first + usual * (applied.chunk + SERVED[name]) - 1
            shown |= await watch(stream, ends) if max(shown) < ends else {}
    chunks = 1 + -(-(max(shown) + 1 - first) // usual)
    model = load_model(name, threads=1, weights=[folder], size=SIZE)
    switch = [Controls(prompt=SECOND if k == applied.chunk else None) for k in range(chunks)]
    wanted = made(model, 4, switch)
    assert set(shown) <= set(range(len(wanted))) and len(shown) > 9
    # a picture is nearer to its own jpeg than to that of another seed, or without the new prompt
    assert distance(shown, wanted) < distance(shown, made(model, 5, switch))
    unswitched = made(model, 4, [Controls()] * len(switch))
    last = {k: picture for k, picture in shown.items() if k > ends - usual}
    assert distance(last, wanted) < distance(last, unswitched)


def image(seed: int) -> bytes:
    """A PNG of coloured squares, larger than the frames and of another shape."""
    colours = np.random.default_rng(seed).integers(0, 255, (3, 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).resize((160, 96), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.long
@pytest.mark.parametrize("name", ["longlive-2", "causal-forcing-framewise", "sgf-plus"])
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
    # the first chunk of a beginning may be shorter
    chunks = 2 + -(-(max(shown) + 1) // model.info.chunk_frames)
    log = [Controls(image=second if k == applied.chunk else None) for k in range(chunks)]
    wanted = made(model, 4, log, first)
    plain = [Controls()] * len(log)
    assert len(shown) > 5 and max(shown) < len(wanted)
    assert distance(shown, wanted) < distance(shown, made(model, 4, log))
    assert distance(shown, wanted) < distance(shown, made(model, 4, plain, first))


def made(model: Model, seed: int, log: list[Controls], image: bytes | None = None) -> np.ndarray:
    """The frames of a stream that is begun with the first prompt, as a jpeg shows them."""
    state = model.start(StreamRequest(seed=seed, prompt=FIRST, image=image))
    frames = np.concatenate([model.step(state, controls).frames for controls in log])
    encoder = JpegEncoder(model.info.width, model.info.height, model.info.fps, kbps=1000)
    sent = [encoder.encode(frame, 0.0, key=True)[0] for frame in frames]
    return np.stack([simplejpeg.decode_jpeg(each) for each in sent])


def distance(shown: dict[int, np.ndarray], frames: np.ndarray) -> float:
    """Mean absolute difference of pictures and the frames of the same number."""
    return float(np.mean([np.abs(p.astype(float) - frames[k]).mean() for k, p in shown.items()]))
