"""The streaming benchmark in small: the whole way once, its trends from made-up samples."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from rollcast.benchmarks.stream.metrics_text import Sample
from rollcast.benchmarks.stream.server_process import ServerDied, ServerProcess
from rollcast.benchmarks.stream.stream import StreamBenchOptions, measure, trends

SCHEMA = {
    "device": str,
    "model": str,
    "native": {"width": int, "height": int, "fps": int, "chunk_frames": int},
}
ROW = ["n", "fps", "rtf_p50", "rtf_p95", "ttff_cold_s", "ttff_warm_s", "control_chunks_p95"]


@pytest.mark.slow
def test_two_viewers_of_the_test_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a proxy is set, which the way to this machine does not take."""
    for name in ("http_proxy", "https_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    said: list[str] = []
    report = measure(StreamBenchOptions("test-pattern", (2,), 2.0), said.append).to_json()
    assert set(report) == {"device", "instructions", "model", "native", "sessions", "soak"}
    assert report["native"] == {"width": 128, "height": 128, "fps": 25, "chunk_frames": 4}
    assert report["soak"] is None
    (row,) = json.loads(json.dumps(report))["sessions"]
    assert list(row) == [*ROW, "overhead_ratio", "memory_mb"]
    assert row["n"] == 2
    assert 20 < row["fps"] < 30
    assert 0 < row["rtf_p50"] <= row["rtf_p95"] < 1
    assert 0 < row["ttff_warm_s"] < row["ttff_cold_s"]
    assert 0 < row["control_chunks_p95"] < 5
    assert row["memory_mb"] > 20
    assert said


def sample(
    at_s: float, memory_mb: float, steps: int, step_sum_s: float
) -> tuple[float, float, Sample]:
    labels = frozenset({("stage", "step")})
    return (
        at_s,
        memory_mb,
        Sample(
            {
                ("rollcast_stage_seconds_sum", labels): step_sum_s,
                ("rollcast_stage_seconds_count", labels): float(steps),
            }
        ),
    )


def test_a_leak_and_a_slowdown_show() -> None:
    samples, total_s = [], 0.0
    for number in range(41):
        samples.append(sample(number * 15.0, 100 + 0.5 * number, number * 10, total_s))
        total_s += 10 * (0.02 if number < 20 else 0.03)
    soak = trends(samples, 10.0)
    assert soak.memory_slope_mb_per_min == pytest.approx(2.0)
    assert soak.chunk_time_last_over_first == pytest.approx(1.5)


@pytest.mark.slow
def test_a_server_that_cannot_start_is_reported() -> None:
    with (
        ServerProcess("no-such-model", max_sessions=1) as server,
        pytest.raises(ServerDied, match="no-such-model"),
    ):
        server.wait_ready()


@pytest.mark.long
@pytest.mark.slow
def test_a_benchmark_that_is_ended_leaves_no_process() -> None:
    command = [sys.executable, "-P", "-m", "rollcast.server.cli", "bench", "stream"]
    process = subprocess.Popen(
        [*command, "--model", "test-pattern", "--sessions", "1", "--seconds", "50"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # Itself, the server and the viewers.
        await_group(process.pid, 3)
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
        await_group(process.pid, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def await_group(leader: int, count: int) -> None:
    """Return when so many processes of this group live."""
    end_s = time.monotonic() + 20
    while (now := group_size(leader)) != count:
        assert time.monotonic() < end_s, f"{now} processes, expected {count}"
        time.sleep(0.1)


def group_size(leader: int) -> int:
    listed = subprocess.run(["ps", "-eo", "pgid="], capture_output=True, text=True, check=True)
    return listed.stdout.split().count(str(leader))
