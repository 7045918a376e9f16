"""Both ways side by side, in small: the whole way once."""

from __future__ import annotations

import pytest

from rollcast.benchmarks.stream.transports import measure_transports


@pytest.mark.long
def test_both_ways_are_measured() -> None:
    said: list[str] = []
    report = measure_transports(1, 1, 0.5, said.append)
    assert [row.transport for row in report.rows] == ["websocket", "webrtc"]
    for row in report.rows:
        assert row.first_frame_ms > 0 and row.control_ms > 0 and row.speech_ms > 0
        assert 0 <= row.silence_ms < 1_000
        assert 0 < row.server_core_share_a_viewer < 4
    assert len(said) == 4
    assert set(report.to_json()) == {"rows", "viewers"}
