"""The comparison of the executors, short: the shape of its report and that latents are compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rollcast.benchmarks.pipeline.executors import PipelineBenchOptions, measure
from rollcast.benchmarks.pipeline.latents_model import event_log, fingerprinted
from rollcast.models.contract import StreamRequest
from rollcast.models.pocket.conditions import PACKED_CHANNELS
from rollcast.models.state import DecoderState

pytestmark = pytest.mark.processes


def test_the_log_has_every_event_and_the_fingerprint_is_that_of_the_latents() -> None:
    model = fingerprinted("pocket", 1)
    log = event_log(model.info, 50)
    for name in ("prompt", "scene", "tracks", "clear_audio", "reset", "seed"):
        assert any(getattr(controls, name) for controls in log), name
    plan = model.prepare(model.start(StreamRequest(seed=1)), log[0])
    noise = (
        np.random.default_rng(0).standard_normal((1, 1, PACKED_CHANNELS, 8, 8)).astype(np.float32)
    )
    import torch

    latents = [torch.from_numpy(noise + k) for k in (0, 0, 1)]
    words = [model.decode(plan, each, DecoderState()).ignored_words for each in latents]
    assert words[0] == words[1] != words[2]


@pytest.mark.long
def test_a_short_comparison(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    options = PipelineBenchOptions("pocket", (2,), chunks=8, rounds=1, trace=trace)
    report = measure(options, lambda _: None)
    found = json.loads(json.dumps(report.to_json()))
    assert found["latents_equal"] is True
    assert 0 <= found["diagonal_difference"] < 1e-4
    assert found["sequential"]["fps"] > 0 and found["diagonal"]["over_sequential"] > 0
    (row,) = found["pipeline"]
    assert row["stages"] == 2 and row["latency_s"] > 0 and row["simulated_fps"] > 0
    assert found["soak"] is None and found["faults"] is None
    assert len(json.loads(trace.read_text())["traceEvents"]) > 4
