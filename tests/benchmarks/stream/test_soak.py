"""Five minutes of one viewer of the embedded model, over a real socket, without growth."""

from __future__ import annotations

import pytest

from rollcast.benchmarks.stream.stream import StreamBenchOptions, measure


@pytest.mark.long
@pytest.mark.timeout(900)
def test_neither_memory_nor_time_per_chunk_grows() -> None:
    plan = StreamBenchOptions("pocket", (1,), 4.0, soak_minutes=5.0, threads=1)
    soak = measure(plan, lambda _: None).soak
    assert soak is not None
    # Ten minutes give -0.04 MB and 0.98; over five the allocator and other processes show.
    assert soak.memory_slope_mb_per_min < 3
    assert soak.chunk_time_last_over_first < 1.5
