"""A model's process is killed, stopped or made to fail under three viewers: nobody loses a frame.

`pytest -m long -s` of this file prints the table of docs/operations.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from rollcast.models.contract import Chunk, Controls, Model, StreamRequest
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.registry import MODEL_FACTORY, load_model
from rollcast.models.test_pattern import TestPattern
from rollcast.server.engine.model_host import ModelHost

from ..running import RunningServer, Viewer, running, until, viewing
from .faulty_models import EXCEPTION, MEMORY_ERROR

pytestmark = pytest.mark.processes

PATIENCE_S = 120.0
FAULTS = {
    "kill -9": signal.SIGKILL,
    "SIGSTOP": signal.SIGSTOP,
    "exception": EXCEPTION,
    "MemoryError": MEMORY_ERROR,
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@dataclass
class Recorded:
    """One stream as the model's executor saw it."""

    request: StreamRequest
    controls: list[Controls] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)


class RecordingHost(ModelHost):
    """Notes what is asked of the model, and keeps its pipeline at hand."""

    def __init__(self, name: str, spec: ModelSpec) -> None:
        self.pipeline = Pipeline(spec, backoff=Backoff(first_s=0.1))
        self.recorded: dict[str, Recorded] = {}
        super().__init__(name, lambda: self.pipeline)

    def start(self, report: Callable[[Any], None]) -> None:
        def noting(event: Any) -> None:
            if isinstance(event, Finished) and event.stream in self.recorded:
                self.recorded[event.stream].chunks.append(event.chunk)
            report(event)

        super().start(noting)

    def open(self, stream: str, request: StreamRequest) -> None:
        self.recorded[stream] = Recorded(request)
        super().open(stream, request)

    def submit(self, stream: str, controls: Controls) -> None:
        self.recorded[stream].controls.append(controls)
        super().submit(stream, controls)


@asynccontextmanager
async def watched(
    server: RunningServer, model: str, viewers: int
) -> AsyncIterator[tuple[list[Viewer], Viewer]]:
    """Viewers of the model that is hurt, and one of the other model."""
    async with AsyncExitStack() as stack:
        hurt = [
            await stack.enter_async_context(viewing(server.ws, model=model, seed=k))
            for k in range(viewers)
        ]
        other = await stack.enter_async_context(viewing(server.ws, model="test-pattern"))
        yield hurt, other


async def survive(spec: ModelSpec, reference: Model, faults: list[str], name: str) -> None:
    rng = random.Random(7)
    recovered_s: dict[str, list[float]] = defaultdict(list)
    hosts = [
        RecordingHost(name, spec),
        RecordingHost("test-pattern", ModelSpec(MODEL_FACTORY, {"name": "test-pattern"})),
    ]
    names = (name, "test-pattern")
    async with running(
        hosts=hosts, models=names, max_sessions=4, wait_ready=False, idle_timeout_s=PATIENCE_S
    ) as server:
        await until(lambda: server.engine.health == "ready", PATIENCE_S)
        hurt = server.engine.hosted[name]
        async with watched(server, name, 3) as (viewers, other):
            for number, fault in enumerate(faults):
                await say_something(viewers, number)
                made = [len(each.chunks) for each in hosts[0].recorded.values()]
                await until(
                    lambda seen=made: all(
                        len(each.chunks) >= before + 2
                        for each, before in zip(hosts[0].recorded.values(), seen, strict=True)
                    ),
                    PATIENCE_S,
                )
                await asyncio.sleep(rng.uniform(0.0, 0.7))
                others = len(other.video)
                begin_s = time.monotonic()
                os.kill(hosts[0].pipeline.pids[0], FAULTS[fault])
                await until(lambda: hurt.condition == "restarting", PATIENCE_S)
                await until(lambda: hurt.condition == "ready", PATIENCE_S)
                recovered_s[fault].append(time.monotonic() - begin_s)
                await until(lambda seen=others: len(other.video) > seen, PATIENCE_S)
            await until(lambda: all(told(v) >= len(faults) for v in viewers), PATIENCE_S)
            sockets = [viewer.close_code for viewer in (*viewers, other)]
            assert sockets == [None] * 4, "every socket stays open"
            assert told(other) == 0, "the other model's stream hears of nothing"
            for viewer in viewers:
                seqs = [packet.seq for packet in viewer.video]
                assert seqs == sorted(set(seqs)), "no frame comes twice or late"
        assert hurt.why == ""
    frames = sum(same_as_undisturbed(reference, each) for each in hosts[0].recorded.values())
    for fault, times in recovered_s.items():
        print(f"| {fault} | {len(times)} | {median(times):.1f} s | {max(times):.1f} s |")
    print(f"{frames} chunks of three streams, each equal to those of an undisturbed run")


async def say_something(viewers: list[Viewer], number: int) -> None:
    """So that what is replayed has controls in it."""
    speech = np.full(16_000, 3000, np.int16)
    await viewers[number % 3].speak(speech)
    await viewers[(number + 1) % 3].say("prompt", event_id=f"p{number}", text="smile, red hair")
    points = [{"id": 1, "phase": "down", "x": 0.5, "y": 0.4}]
    await viewers[(number + 2) % 3].say("tracks", event_id=f"t{number}", points=points)


def told(viewer: Viewer) -> int:
    return sum(message["type"] == "engine.restarting" for message in viewer.messages)


def same_as_undisturbed(model: Model, recorded: Recorded) -> int:
    """How many chunks were compared with a run of the same log that nothing happened to."""
    state = model.start(recorded.request)
    assert [chunk.index for chunk in recorded.chunks] == list(range(len(recorded.chunks)))
    for controls, chunk in zip(recorded.controls, recorded.chunks, strict=False):
        again = model.step(state, controls)
        assert digest(again) == digest(chunk), f"chunk {chunk.index} differs"
    return len(recorded.chunks)


def digest(chunk: Chunk) -> str:
    frames = np.ascontiguousarray(chunk.frames)
    return hashlib.sha256(frames.tobytes() + chunk.audio.tobytes()).hexdigest()


@pytest.mark.timeout(300)
async def test_streams_of_a_model_survive_whatever_happens_to_its_process() -> None:
    await survive(ModelSpec("faulty_models:FaultyPattern"), TestPattern(), [*FAULTS], "faulty")


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_the_embedded_model_survives_twenty_faults_at_random_moments() -> None:
    faults = random.Random(11).sample([*FAULTS] * 5, 20)
    spec = ModelSpec("faulty_models:faulty_pocket")
    await survive(spec, load_model("pocket", threads=1), faults, "pocket")
