"""What an hour of a fleet comes to, out of its samples."""

from __future__ import annotations

from rollcast.benchmarks.fleet.soak import Counts, report


def test_samples_are_taken_for_what_they_tell() -> None:
    """One from a moment without a controller says less than others."""
    samples = [{"at_s": 20.0, "gateway_mb": 900.0, "replicas": 9}]
    samples += [{"at_s": 300.0 + k, "gateway_mb": 70.0 + k} for k in range(8)]
    for k in (1, 6, 7):
        samples[1 + k]["replicas"] = k
    found = report(samples, Counts(opened=3))
    assert found["samples"] == 9 and found["counts"]["opened"] == 3
    assert found["growth"] == {
        "gateway_mb": {"first": 70.5, "last": 76.5, "samples": 8},
        "replicas": {"first": 1.0, "last": 7.0, "samples": 3},
    }
