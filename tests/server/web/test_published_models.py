"""Published models by the real server: `rollcast serve`'s hosts, processes and the Python client.

Their files are tiny random ones in the published formats.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rollcast.client import Frame, Stream, connect
from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.registry import load_model
from rollcast.server.config import ServerConfig
from rollcast.server.web.app import build_hosts

from ...tiny_checkpoints import write_checkpoint
from ..running import running, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

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


async def watch(stream: Stream, frames: int) -> list[Frame]:
    """The next so many frames."""
    seen: list[Frame] = []
    async for media in stream:
        if isinstance(media, Frame):
            seen.append(media)
            if len(seen) == frames:
                break
    return seen


@pytest.mark.parametrize("name", ["self-forcing", "reward-forcing", "longlive"])
async def test_a_prompt_a_seed_and_a_switch_reach_the_picture(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    """What the client is shown is what the model makes of the same log, chunk by chunk."""
    folder = str(folder_of(name))
    config = ServerConfig(models=(name,), weights=(folder,), size=SIZE, threads=1)
    async with running(hosts=build_hosts(config), models=(name,), wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready", START_S)
        async with connect(
            server.http, prompt=FIRST, seed=4, codecs=("jpeg",), pace="reader", answer_timeout_s=60
        ) as stream:
            before = await watch(stream, 9)
            applied = await stream.prompt(SECOND)
            after = await watch(stream, 12 * (applied.chunk + 1) - 3 - len(before))
    assert [frame.seq for frame in before + after] == list(range(len(before + after)))
    model = load_model(name, threads=1, weights=[folder], size=SIZE)
    state = model.start(StreamRequest(seed=4, prompt=FIRST))
    log = [
        Controls(prompt=SECOND if chunk == applied.chunk else None)
        for chunk in range(applied.chunk + 1)
    ]
    wanted = np.concatenate([model.step(state, controls).frames for controls in log])
    shown = np.stack([frame.image for frame in before + after])
    assert shown.shape == wanted.shape
    # as near as a jpeg is to its picture, and nearer than another prompt or seed
    assert distance(shown, wanted) < 0.35 * distance(shown[:9], np.roll(wanted, 9, axis=0)[:9])
    plain = model.start(StreamRequest(seed=4, prompt=FIRST))
    unswitched = np.concatenate([model.step(plain, Controls()).frames for _ in log])
    last = slice(-12, None)
    assert distance(shown[last], wanted[last]) < distance(shown[last], unswitched[last])


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of pictures."""
    return float(np.abs(one.astype(float) - other).mean())
