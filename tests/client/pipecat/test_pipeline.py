"""A real Pipecat pipeline with `RollcastVideoService` in it, in its own Python."""

from __future__ import annotations

import asyncio

import pytest

from ...server.running import running, until
from ..lateness import BUSY_MS, Lateness
from ..peers import PYTHON, come_to_pipelines, last_line, run_pipeline

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not PYTHON.exists(), reason="make peers has not installed Pipecat"),
]

PLAN = [
    [300, 1.5, None],
    [500, 5, 1.5],
    [700, 4, 0.9],
    [900, 4, 0.9],
    [1100, 1.2, None],
]
LAST = (1300, 0.8)
"""What is said right before the pipeline ends."""


@pytest.mark.parametrize("rate", [16_000, 24_000])
async def test_a_bot_with_a_face(rate: int) -> None:
    lateness = Lateness()
    async with running() as server:
        watching = asyncio.create_task(lateness.watch())
        process = await asyncio.create_subprocess_exec(
            *run_pipeline(server.http, rate, PLAN),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 0, errors.decode()[-4_000:]
        await until(lambda: not len(server.engine.streams))
        watching.cancel()
    report = last_line(output)
    whole = {hz: seconds for hz, seconds, cut in PLAN if cut is None} | dict([LAST])
    for sentence in report["sentences"]:
        # on a busy machine a cut may come before the first sound
        assert sentence["sound_ms"] is not None or sentence["hz"] not in whole, sentence
        if sentence["hz"] in whole:
            assert sentence["heard_s"] == pytest.approx(whole[sentence["hz"]], abs=0.08)
    # the server is in this process
    late_ms = max(report["late_ms"], lateness.most_ms)
    busy = late_ms > BUSY_MS
    # after a cut the mouth of the sentence before may still be open
    assert busy or all(abs(each["skew_ms"]) <= 80 for each in report["sentences"][:2]), report
    # a piece of 20 ms was being played, and whatever the machine adds
    assert busy or max(report["silent_ms"]) <= 40 + late_ms, report["silent_ms"]
    heard = sum(each["sound_ms"] is not None for each in report["sentences"])
    assert [what for _, what in report["bot"]] == ["started", "stopped"] * heard
    # never faster than it is spoken, and hardly ever the same picture twice
    assert busy or report["repeats"] + report["skips"] <= 0.05 * report["frames"]


async def test_a_hundred_bots_leave_nothing_behind() -> None:
    async with running(max_sessions=8) as server:
        early, *_, late = await asyncio.to_thread(come_to_pipelines, server.http, 100)
        await until(lambda: not len(server.engine.streams))
    for what in ("tasks", "files", "threads"):
        assert late[what] <= early[what] + 2, (early, late)
    assert late["objects"] <= early["objects"] + 1_000, (early, late)
    assert late["megabytes"] <= early["megabytes"] + 40, (early, late)
