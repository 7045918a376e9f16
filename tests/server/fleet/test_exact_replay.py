"""A replica with the embedded model is lost: the next one shows what the first would have shown."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

from rollcast.models.pipeline.pipeline import WHOLE_CHUNKS
from rollcast.models.registry import load_model
from rollcast.server.config import ServerConfig
from rollcast.server.secret import Secret
from rollcast.server.stream_log.recorded import made
from rollcast.server.stream_log.records import Made
from rollcast.server.stream_log.replay import StreamLog, read_log
from rollcast.server.web.app import build_hosts

from ..running import running, until, viewing
from .neighbours import KEY, Fleet, gateway_at

pytestmark = [pytest.mark.processes, pytest.mark.long]

LIMIT_S = 120.0
LOST_AT, END_AT = 2 * WHOLE_CHUNKS + 3, 2 * WHOLE_CHUNKS + 8


async def test_a_stream_is_the_same_bit_for_bit_behind_a_loss(tmp_path: Path) -> None:
    fleet = Fleet()
    async with AsyncExitStack() as stack:
        for name in "ab":
            settings = {
                "models": ("pocket",), "threads": 1, "fleet_key": Secret(KEY), "name": name,
                "record_dir": tmp_path / name, "trusted_proxies": ("127.0.0.1",),
                "max_sessions": 2,
            }  # fmt: skip
            hosts = build_hosts(ServerConfig(port=0, **settings))
            server = running(hosts=hosts, wait_ready=False, **settings)
            fleet.replicas[name] = await stack.enter_async_context(server)
        for each in fleet.replicas.values():
            await until(lambda each=each: each.engine.health == "ready", LIMIT_S)
        gateway = await stack.enter_async_context(gateway_at(fleet))
        async with viewing(gateway.ws, model="pocket", seed=3) as viewer:
            speech = np.random.default_rng(4).integers(-9000, 9000, 16_000).astype(np.int16)
            await viewer.speak(speech)
            await viewer.wait_chunk(LOST_AT)
            first = fleet.of(viewer.ready["session_id"])
            fleet.kill(first)
            await viewer.wait_chunk(END_AT)
        (second,) = fleet.replicas
    before, behind = (only(tmp_path / name) for name in (first, second))
    gone_on = behind.gone_on
    assert gone_on is not None and not gone_on.small and gone_on.behind >= WHOLE_CHUNKS - 1
    controls = [step.controls for step, _ in before.steps[: gone_on.behind + 1]]
    controls += [step.controls for step, _ in behind.steps]
    seen = [then for _, then in behind.steps]
    model = load_model("pocket", threads=1)
    state, compared = model.start(before.header.request), 0
    for step, told in enumerate(controls):
        chunk = model.step(state, told)
        then = seen[step - gone_on.behind - 1] if step > gone_on.behind else None
        if isinstance(then, Made):
            assert made(chunk) == then, step
            compared += 1
    assert compared >= END_AT - LOST_AT


def only(folder: Path) -> StreamLog:
    (path,) = folder.glob("*.rclog")
    return read_log(path)
