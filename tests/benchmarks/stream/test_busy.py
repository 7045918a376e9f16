"""The benchmark of a busy machine, for real and short."""

from __future__ import annotations

import pytest

from rollcast.benchmarks.stream.busy import measure_busy


@pytest.mark.long
def test_both_ways_are_measured() -> None:
    report = measure_busy("test-pattern", 1, 6.0, None, lambda _: None)
    assert [row.ladder for row in report.rows] == [True, False]
    for row in report.rows:
        assert len(row.fps_by_second) == len(row.levels) == 6
        assert row.fps > 0 and row.media_share > 0
    assert report.rows[1].level == 0
