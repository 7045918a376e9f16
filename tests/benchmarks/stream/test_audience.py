"""The benchmark of those who watch, in small: the whole way once."""

from __future__ import annotations

import pytest

from rollcast.benchmarks.stream.audience import measure_audience


@pytest.mark.slow
def test_more_and_more_watch_one_stream() -> None:
    said: list[str] = []
    report = measure_audience((1, 3), 0.5, said.append, settle_s=0.1)
    assert [row.viewers for row in report.rows] == [1, 3]
    assert all(0 < row.server_core_share < 4 and row.first_frame_s > 0 for row in report.rows)
    assert all(row.missing_frames >= 0 for row in report.rows)
    assert len(said) == 2
    assert set(report.to_json()) == {"rows", "core_share_a_viewer"}
