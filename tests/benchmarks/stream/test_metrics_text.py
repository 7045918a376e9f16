"""Figures from two samples of the server's metrics text."""

from __future__ import annotations

import math

import pytest

from rollcast.benchmarks.stream.metrics_text import Span, parse
from rollcast.server.metrics import Metrics

TEXT = """\
# HELP rollcast_stage_seconds Time in a stage
# TYPE rollcast_stage_seconds histogram
rollcast_stage_seconds_bucket{le="0.1",stage="step"} 2.0
rollcast_stage_seconds_bucket{le="0.2",stage="step"} 4.0
rollcast_stage_seconds_bucket{le="+Inf",stage="step"} 4.0
rollcast_stage_seconds_count{stage="step"} 4.0
rollcast_stage_seconds_sum{stage="step"} 0.4
rollcast_chunks_total 4.0
"""


def test_labels_and_plain_values() -> None:
    sample = parse(TEXT)
    assert sample.value("rollcast_chunks_total") == 4
    assert sample.value("rollcast_stage_seconds_count", stage="step") == 4
    assert sample.value("rollcast_stage_seconds_count", stage="nothing") == 0
    assert sample.stages() == {"step"}


def test_a_label_may_hold_what_ends_one() -> None:
    sample = parse('rollcast_errors_total{code="a\\"}, b"} 2.0 1700000000000\n')
    assert sample.value("rollcast_errors_total", code='a"}, b') == 2


def test_what_is_no_metrics_text_is_refused() -> None:
    with pytest.raises(ValueError):
        parse("<html>502 Bad Gateway</html>\n")


def test_percentiles_lie_within_their_bucket() -> None:
    span = Span(parse(""), parse(TEXT))
    assert span.step_percentile_s(0.25) == pytest.approx(0.05)
    assert span.step_percentile_s(0.75) == pytest.approx(0.15)
    assert span.step_percentile_s(1.0) == pytest.approx(0.2)


def test_only_what_happened_in_between_counts() -> None:
    metrics = Metrics(rendered_for_s=0.0)
    for _ in range(50):
        metrics.stage_s.labels("step").observe(1.5)
    before = parse(metrics.render().decode())
    for _ in range(100):
        metrics.stage_s.labels("step").observe(0.05)
    metrics.stage_s.labels("encode").observe(1.0)
    metrics.stage_s.labels("send").observe(0.3)
    metrics.stage_s.labels("deliver").observe(0.3)
    span = Span(before, parse(metrics.render().decode()))
    assert span.mean_step_s() == pytest.approx(0.05)
    assert span.step_percentile_s(0.5) == pytest.approx(0.05, rel=0.2)
    assert span.step_percentile_s(0.95) < 0.06
    assert span.overhead_ratio() == pytest.approx(0.6 / 6.0)


def test_nothing_measured_is_not_a_number() -> None:
    empty = Span(parse(""), parse(""))
    assert math.isnan(empty.mean_step_s())
    assert math.isnan(empty.overhead_ratio())
    assert math.isnan(empty.step_percentile_s(0.5))
