"""What the simulation of turns says of figures that are known."""

from __future__ import annotations

import pytest

from rollcast.server.engine.scheduler import ModelLoad
from rollcast.server.engine.turns_simulator import Turns, forecast, late_share

POCKET = ModelLoad("pocket", 0.067, 0.16, 0.112, {2: 0.118})


@pytest.mark.parametrize(("turns", "streams"), [("sliced", 1), ("staggered", 2), ("batched", 2)])
def test_turns_let_a_second_stream_in(turns: Turns, streams: int) -> None:
    assert forecast(POCKET, turns, most=3) == streams


def test_batches_serve_who_could_not_be_served_one_by_one() -> None:
    many = ModelLoad("m", 0.02, 0.16, 0.112, {2: 0.025, 4: 0.036})
    assert late_share(10, many, "staggered", seed=1, chunks=60) > 0.1
    assert late_share(10, many, "batched", seed=1, chunks=60) == 0.0
