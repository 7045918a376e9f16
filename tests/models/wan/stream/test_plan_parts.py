"""A plan holds each kind's part under its own name; what two kinds may not both say."""

from __future__ import annotations

import json

import pytest
import torch

from rollcast.models.student.conditioning import Conditions
from rollcast.models.wan.stream.conditioning.conditioner import (
    CallInputs,
    ChunkPlace,
    PlanPart,
    merged,
)
from rollcast.models.wan.stream.plan_parts import parts_of, place_of, planned

PLACE = ChunkPlace(chunk=4, start=13, frames=3, seed=7)


def test_parts_come_back_as_they_were() -> None:
    parts = {
        "text": PlanPart({"embeddings": torch.ones(2, 3)}, {"recaches": True}),
        "tracks": PlanPart({"maps.dense": torch.zeros(1)}, needed_by=9),
        "nothing": PlanPart(),
    }
    plan = planned(5, 11, restart=False, place=PLACE, parts=parts)
    assert (plan.index, plan.noise_seed, plan.restart) == (5, 11, False)
    # of the stream since it started, whose chunk 4 this is
    assert plan.needed_by == 5 + (9 - 4)
    assert json.loads(json.dumps(plan.plain)) == plan.plain
    assert place_of(plan) == PLACE
    back = parts_of(plan)
    assert list(back) == list(parts)
    assert back["text"].plain == {"recaches": True} and back["nothing"].tensors == {}
    assert torch.equal(back["tracks"].tensors["maps.dense"], torch.zeros(1))


def test_one_kind_alone_can_need_a_chunk() -> None:
    parts = {name: PlanPart(needed_by=9) for name in ("a", "b")}
    with pytest.raises(ValueError, match="one can"):
        planned(5, 11, restart=False, place=PLACE, parts=parts)


def test_kinds_compose() -> None:
    text, tracks, channels = torch.ones(2, 3), torch.ones(1, 12, 2, 4, 4), torch.ones(1, 3, 4, 4, 4)
    told = merged(
        [
            CallInputs(text=text),
            CallInputs(conditions=Conditions(tracks=tracks)),
            CallInputs(image=text, conditions=Conditions(channels=channels)),
        ]
    )
    assert told.text is text and told.image is text and told.held is None
    assert told.conditions.tracks is tracks and told.conditions.channels is channels
    for twice in (CallInputs(text=text), CallInputs(conditions=Conditions(tracks=tracks))):
        with pytest.raises(ValueError, match="2 kinds of conditioning give"):
            merged([twice, twice])
