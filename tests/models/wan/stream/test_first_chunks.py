"""What a model does before its first stream: it meets every number of keys there will be."""

from __future__ import annotations

from typing import Any

import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.student import cache_attend
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.stream.first_chunks import meet_every_length

from ....variants import some_of
from ..conftest import ModelOf

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    some_of(
        ["reward-forcing", "longlive", "causal-forcing-2-step"],
        "reward-forcing",
        "causal-forcing-2-step",
    ),
)
def test_no_number_of_keys_is_new_to_a_stream(
    model_of: ModelOf, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: set[tuple[int, ...]] = set()
    plain = cache_attend.attention

    def noting(query: Any, key: Any, value: Any) -> Any:
        met.add((*query.shape, key.shape[2]))
        return plain(query, key, value)

    monkeypatch.setattr(cache_attend, "attention", noting)
    model, preset = model_of(name), preset_named(name)
    meet_every_length(model, model._preset)
    before = set(met)
    state = model.start(StreamRequest(seed=1))
    for _ in range(2 * preset.cache.capacity_frames // preset.recipe.chunk_frames + 2):
        model.step(state, Controls())
    assert len(before) > 1 and met == before
