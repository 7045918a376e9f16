"""A server whose model runs in stages: chunks overlap, and a lost stage is told and survived."""

from __future__ import annotations

import os
import queue
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollcast.models.contract import Controls
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.server.engine.staged_worker import StagedWorker
from rollcast.server.engine.worker import (
    Close,
    Drop,
    Dropped,
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
from rollcast.server.protocol.packets import Flags

from ..running import (
    Viewer,
    running,
    until,
    viewing,
)

TINY_FOLDER = Path(__file__).parents[2] / "models" / "pipeline"
SLOW = ModelSpec("tiny:TinyModel", {"step_s": 0.02})
PATIENCE_S = 90.0


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
        ready = reports.get(timeout=PATIENCE_S)
        assert isinstance(ready, Ready), ready
        assert 0.04 < ready.step_s["tiny"] < ready.latency_s["tiny"]
        worker.submit(Open("a", "tiny", 1, "sun", None))
        worker.submit(Open("bad", "tiny", 1, "mars", None))
        for k in range(4):
            worker.submit(Step("a", Controls(audio=np.full(2560, k, np.int16))))
        worker.submit(Step("nobody", Controls()))
        heard = [reports.get(timeout=PATIENCE_S) for _ in range(6)]
        stepped = [each for each in heard if isinstance(each, Stepped)]
        assert [each.chunk.index for each in stepped] == [0, 1, 2, 3]
        assert all(each.latency_s and each.latency_s > each.step_s for each in stepped)
        refused = {each.session_id: each.reason for each in heard if isinstance(each, Refused)}
        assert refused.keys() == {"bad", "nobody"} and "mars" in refused["bad"]
        worker.submit(Close("a"))
        os.kill(worker.pipeline.pids[0], signal.SIGKILL)
        restarting = reports.get(timeout=PATIENCE_S)
        assert isinstance(restarting, Restarting) and "stage 0" in restarting.reason
        assert worker.next_step_s(0.0, 0) is None
        assert isinstance(reports.get(timeout=PATIENCE_S), Restarted)
        pids = worker.pipeline.pids
    finally:
        worker.stop()
    assert not any(alive(pid) for pid in pids)


def test_a_picture_is_passed_to_the_first_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, opened = StagedWorker(SLOW, 2), []
    monkeypatch.setattr(worker.pipeline, "open", lambda _, **options: opened.append(options))
    worker._do(Open("a", "tiny", 1, "picture", None, b"square"), lambda _: None)
    assert opened == [{"seed": 1, "scene": "picture", "prompt": None, "picture": b"square"}]


def test_what_is_under_way_can_be_dropped() -> None:
    reports: queue.Queue[Report] = queue.Queue()
    worker = StagedWorker(SLOW, 2)
    worker.start(reports.put)
    try:
        assert isinstance(reports.get(timeout=PATIENCE_S), Ready)
        worker.submit(Open("a", "tiny", 1, "sun", None))
        for _ in range(3):
            worker.submit(Step("a", Controls()))
        worker.submit(Drop("a"))
        worker.submit(Drop("nobody"))
        worker.submit(Step("a", Controls()))
        heard = [reports.get(timeout=PATIENCE_S) for _ in range(4)]
    finally:
        worker.stop()
    assert heard[:3] == [Dropped("a")] * 3
    assert isinstance(heard[3], Stepped) and heard[3].chunk.index == 3


async def test_barge_in_really_stops() -> None:
    """Chunks that were under way are never seen: the next one knows of it, and none is missing."""
    slow = ModelSpec("tiny:TinyModel", {"step_s": 0.06})
    worker = StagedWorker(slow, 2)
    async with running(runner=worker, wait_ready=False, models=("tiny",)) as server:
        await until(lambda: server.engine.health == "ready", PATIENCE_S)
        dropped: list[Dropped] = []
        tell = server.engine._dropped
        server.engine._dropped = lambda report: (dropped.append(report), tell(report))[1]
        async with viewing(server.ws) as viewer:
            await viewer.speak(np.full(2560 * 40, 8000, np.int16))
            await until(lambda: any(packet.chunk >= 2 for packet in viewer.video), PATIENCE_S)
            await until(lambda: server.engine._under_way.total > 0, PATIENCE_S)
            await viewer.say("audio.clear", event_id="stop")
            await until(lambda: bool(dropped), PATIENCE_S)
            applied = await viewer.wait_message(lambda m: m.get("event_id") == "stop")
            last = applied["chunk"] + 3
            await until(lambda: any(p.chunk >= last for p in viewer.video), PATIENCE_S)
            later = [packet for packet in viewer.audio if packet.chunk >= applied["chunk"]]
            assert later and not any(np.frombuffer(p.payload, "<i2").any() for p in later)
            chunks = sorted({packet.chunk for packet in viewer.video})
            assert chunks == list(range(chunks[0], chunks[-1] + 1)), "none is missing"
            assert any(Flags.DISCONTINUITY in packet.flags for packet in later)


def test_stages_that_cannot_start_are_reported() -> None:
    reports: queue.Queue[Report] = queue.Queue()
    worker = StagedWorker(ModelSpec("tiny:absent"), 1)
    worker.start(reports.put)
    failed = reports.get(timeout=PATIENCE_S)
    assert isinstance(failed, Failed) and "absent" in failed.reason
    worker.stop()


def told(viewer: Viewer) -> list[dict[str, Any]]:
    return [message for message in viewer.messages if message["type"] == "engine.restarting"]


async def test_viewers_are_told_of_a_lost_stage_and_their_streams_go_on() -> None:
    worker = StagedWorker(SLOW, 2)
    async with running(runner=worker, wait_ready=False, models=("tiny",), max_sessions=2) as server:
        await until(lambda: server.engine.health == "ready", PATIENCE_S)
        async with viewing(server.ws) as one, viewing(server.ws, seed=5) as two:
            await until(lambda: min(len(one.video), len(two.video)) >= 8, PATIENCE_S)
            os.kill(worker.pipeline.pids[1], signal.SIGKILL)
            await until(lambda: all(map(told, (one, two))), PATIENCE_S)
            assert 0.5 < told(one)[0]["retry_after_s"] < 60
            seen = {id(v): max(p.chunk for p in v.video) for v in (one, two)}
            await one.say("prompt", event_id="p", text="warm")
            await until(lambda: server.engine.health == "ready", PATIENCE_S)
            for viewer in (one, two):
                last = seen[id(viewer)] + 6
                await until(lambda v=viewer, n=last: v.video[-1].chunk >= n, PATIENCE_S)
                chunks = sorted({packet.chunk for packet in viewer.video})
                assert chunks == list(range(chunks[0], chunks[-1] + 1)), "none is missing"
            answer = await one.wait_message(lambda m: m.get("event_id") == "p")
            assert answer["type"] == "applied"
            text = server.engine.metrics.render().decode()
            assert "rollcast_engine_restarts_total 1.0" in text
        pids = worker.pipeline.pids
    assert not any(alive(pid) for pid in pids)


def test_the_server_process_needs_no_torch() -> None:
    code = "import sys, rollcast.server.staged_worker; sys.exit('torch' in sys.modules)"
    done = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-P", "-c", code])
    assert done == 0
