"""What is known of a model: its places are those that its streams' quality allows."""

from __future__ import annotations

import pytest

from rollcast.models.contract import ModelInfo, ModelInputs
from rollcast.models.pipeline.recent import Recent
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.test_pattern import TestPattern
from rollcast.server.engine.hosted_model import HostedModel
from rollcast.server.engine.model_host import ModelHost
from rollcast.server.engine.quality_ladder import QualityLadder
from rollcast.server.engine.scheduler import capacity

INFO = ModelInfo(
    name="m", title="m", width=8, height=8, fps=25, chunk_frames=4, inputs=ModelInputs()
)


def model(step_s: float, table: dict[int, float] | None = None) -> HostedModel:
    host = ModelHost("m", lambda: Sequential(TestPattern()))
    made = HostedModel(host, 0.0, info=INFO, step_s=Recent(step_s), ladder=QualityLadder(INFO))
    for rows, seconds in (table or {}).items():
        made.table.add(rows, seconds)
    return made


@pytest.mark.parametrize(
    ("step_s", "in_time", "spared"),
    [(0.067, 2, 2), (0.07, 2, 1), (0.02, 7, 6), (0.2, 1, 1)],
    ids=[".84 of the time", "two would take .875", "seven would take .875", "too slow for one"],
)
def test_no_place_is_promised_that_would_cost_the_others_something(
    step_s: float, in_time: int, spared: int
) -> None:
    made = model(step_s)
    assert made.load is not None
    assert (capacity(made.load), made.places(capacity(made.load))) == (in_time, spared)
    assert made.admits_beside(spared - 1) and not made.admits_beside(spared)


def test_what_batches_save_counts() -> None:
    """Eight by one would take 1.6 of the time, and take .8 as batches of eight."""
    made = model(0.032, {2: 0.05, 4: 0.08, 8: 0.1})
    assert made.load is not None
    assert made.load.of_late(8) == pytest.approx(0.1 / 0.16)
    assert made.admits_beside(7)
