"""The embedded model still makes what it made when this log of controls was recorded.

The fixture has three streams that were told everything a stream can be told, and four projections
of each chunk's latents on random directions. On the machine and with the torch of the recording
they are equal bit for bit; elsewhere products are summed in another order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rollcast.models import picture
from rollcast.models.contract import Controls, ModelInfo, StreamRequest, TrackEvent
from rollcast.models.pocket.model import PocketModel
from rollcast.models.staged_model import all_calls

FIXTURE = Path(__file__).parents[2] / "fixtures" / "pocket_recorded.json"
STREAMS: dict[str, dict[str, Any]] = json.loads(FIXTURE.read_text())["streams"]
# Five digits were kept of values around 1; float32 in another order, over 36 chunks with caches,
# moves them by some 1e-5.
TOLERANCE = 1e-3


def sound(chunk: int, samples: int) -> np.ndarray:
    """Bursts with formants of a kind, in whole numbers: the same on every machine."""
    t = np.arange(samples) + chunk * samples
    wave = ((t * 37) % 200 - 100) * ((t // 400) % 7) * 12 + ((t * 101) % 97 - 48) * 30
    return wave.astype(np.int16)


def controls(info: ModelInfo, chunk: int, told: dict[str, Any]) -> Controls:
    told = dict(told)
    guide = info.inputs.picture
    assert guide is not None
    own = picture.sample(guide.size) if told.pop("picture", False) else None
    tracks = tuple(TrackEvent(*event) for event in told.pop("tracks", ()))
    return Controls(audio=sound(chunk, told.pop("audio", 0)), tracks=tracks, picture=own, **told)


def projections(latents: Tensor, chunk: int) -> list[float]:
    generator = torch.Generator().manual_seed(chunk)
    directions = torch.randn(4, latents.numel(), generator=generator)
    return ((directions @ latents.flatten()) / latents.numel() ** 0.5).tolist()


@pytest.fixture(scope="module")
def model() -> PocketModel:
    return PocketModel()


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_log_gives_the_recorded_latents(model: PocketModel, name: str) -> None:
    recorded = STREAMS[name]
    request = StreamRequest(
        seed=recorded["seed"], scene=recorded.get("scene"), prompt=recorded.get("prompt")
    )
    state = model.start(request)
    with torch.inference_mode():
        for number, chunk in enumerate(recorded["chunks"]):
            plan = model.prepare(state, controls(model.info, number, chunk["controls"]))
            (latents,) = all_calls(model, [(plan, state.caches)])
            assert plan.plain["scene"] == chunk["scene"]
            assert plan.plain["talking"] == chunk["talking"]
            found = projections(latents, number)
            np.testing.assert_allclose(found, chunk["latents"], atol=TOLERANCE, err_msg=str(number))
