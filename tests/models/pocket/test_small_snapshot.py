"""A pocket stream saved without its caches: from its kilobytes it soon looks as it would have."""

from __future__ import annotations

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest, TrackEvent
from rollcast.models.pocket.model import PocketModel
from rollcast.models.staged_model import all_steps

MOST_LEVELS = 2
SAVED, CHUNKS = 5, 16


@pytest.fixture
def log() -> list[Controls]:
    """Speech, a head that is dragged, and a prompt that eases in across the snapshot."""
    rng = np.random.default_rng(0)
    return [
        Controls(
            audio=(rng.standard_normal(2560) * 3000).astype(np.int16)[: 0 if k % 9 == 8 else 2560],
            prompt="a smiling man" if k == SAVED - 2 else None,
            tracks=(TrackEvent(1, "down" if k == 1 else "move", *rng.random(2)),) * (k % 3 == 1),
        )
        for k in range(CHUNKS)
    ]


@pytest.mark.slow
def test_replayed_chunks_make_its_caches_again(model: PocketModel, log: list[Controls]) -> None:
    state = model.start(StreamRequest(seed=1))
    for controls in log[:SAVED]:
        model.step(state, controls)
    small, whole = model.small_snapshot(state), model.snapshot(state)
    assert len(small) < 40_000 < len(whole) / 100
    again = model.restore(small)
    shown = SAVED + model.rebuild_chunks
    for controls in log[SAVED:shown]:
        model.step(state, controls)
        # without the decoder
        all_steps(model, [(model.prepare(again, controls), again.caches)])
    for controls in log[shown:]:
        wanted, made = model.step(state, controls), model.step(again, controls)
        assert (made.index, made.scene, made.talking) == (
            wanted.index,
            wanted.scene,
            wanted.talking,
        )
        assert np.array_equal(made.audio, wanted.audio)
        assert np.abs(made.frames.astype(int) - wanted.frames).max() <= MOST_LEVELS
