"""A server whose model runs in stages: chunks overlap, and a lost stage is told and survived."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from rollcast.models.stages.messages import ModelSpec
from rollcast.models.stream import Controls
from rollcast.server.staged_worker import StagedWorker
from rollcast.server.worker import (
    Close,
    Failed,
    Open,
    Ready,
    Refused,
    Report,
    Restarted,
    Restarting,
    Step,
    Stepped,
)

from .running import running, until, viewing

TINY_FOLDER = Path(__file__).parents[1] / "models" / "stages"
SLOW = ModelSpec("tiny:TinyModel", {"step_s": 0.02})


@pytest.fixture(autouse=True)
def _tiny_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TINY_FOLDER))


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_jobs_go_in_and_reports_come_out_in_order() -> None:
    reports: queue.Queue[Report] = queue.Queue()
    worker = StagedWorker(SLOW, 2)
    assert worker.depth == 3
    assert worker.next_step_s(0.0, 0) is None, "not before it is ready"
    worker.start(reports.put)
    try:
        ready = reports.get(timeout=30)
        assert isinstance(ready, Ready), ready
        assert 0.04 < ready.step_s["tiny"] < ready.latency_s["tiny"]
        worker.submit(Open("a", "tiny", 1, "sun", None))
        worker.submit(Open("bad", "tiny", 1, "mars", None))
        for k in range(4):
            worker.submit(Step("a", Controls(audio=np.full(2560, k, np.int16))))
        worker.submit(Step("nobody", Controls()))
        heard = [reports.get(timeout=10) for _ in range(6)]
        stepped = [each for each in heard if isinstance(each, Stepped)]
        assert [each.chunk.index for each in stepped] == [0, 1, 2, 3]
        assert all(each.latency_s and each.latency_s > each.step_s for each in stepped)
        refused = {each.session_id: each.reason for each in heard if isinstance(each, Refused)}
        assert refused.keys() == {"bad", "nobody"} and "mars" in refused["bad"]
        worker.submit(Close("a"))
        os.kill(worker.pipeline.pids[0], signal.SIGKILL)
        restarting = reports.get(timeout=2)
        assert isinstance(restarting, Restarting) and "stage 0" in restarting.reason
        assert worker.next_step_s(0.0, 0) is None
        assert isinstance(reports.get(timeout=30), Restarted)
        pids = worker.pipeline.pids
    finally:
        worker.stop()
    assert not any(alive(pid) for pid in pids)


def test_stages_that_cannot_start_are_reported() -> None:
    reports: queue.Queue[Report] = queue.Queue()
    worker = StagedWorker(ModelSpec("tiny:absent"), 1)
    worker.start(reports.put)
    failed = reports.get(timeout=30)
    assert isinstance(failed, Failed) and "absent" in failed.reason
    worker.stop()


async def test_viewers_are_told_of_a_lost_stage_and_their_streams_go_on() -> None:
    worker = StagedWorker(SLOW, 2)
    async with running(runner=worker, wait_ready=False, models=("tiny",), max_sessions=2) as server:
        await until(lambda: server.engine.health == "ready", 30)
        async with viewing(server.ws) as one, viewing(server.ws, seed=5) as two:
            await one.wait_frames(8)
            await two.wait_frames(8)
            os.kill(worker.pipeline.pids[1], signal.SIGKILL)
            told = await one.wait_message(lambda m: m["type"] == "engine.restarting")
            assert 0.5 < told["retry_after_s"] < 60
            await two.wait_message(lambda m: m["type"] == "engine.restarting")
            assert server.engine.health == "restarting"
            seen = {id(v): max(p.chunk for p in v.video) for v in (one, two)}
            applied = asyncio.create_task(one.control("prompt", text="warm"))
            await until(lambda: server.engine.health == "ready", 30)
            for viewer in (one, two):
                await viewer.wait_chunk(seen[id(viewer)] + 6)
                chunks = sorted({packet.chunk for packet in viewer.video})
                assert chunks == list(range(chunks[0], chunks[-1] + 1)), "none is missing"
            assert (await applied)["type"] == "applied"
            text = server.engine.metrics.render().decode()
            assert "rollcast_engine_restarts_total 1.0" in text
        pids = worker.pipeline.pids
    assert not any(alive(pid) for pid in pids)


def test_the_server_process_needs_no_torch() -> None:
    code = "import sys, rollcast.server.staged_worker; sys.exit('torch' in sys.modules)"
    done = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-P", "-c", code])
    assert done == 0
