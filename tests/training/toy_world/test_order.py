"""Orders that the comparison found beyond its spread come out again, from the student that ships.

A small version of `python -m training.compare`: a minute in place of hours. It begins with the
student of `dmd2`, which nobody could teach in a minute.
"""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from rollcast.models.toy_world.config import SINKS
from rollcast.models.toy_world.model import WEIGHTS
from rollcast.models.toy_world.weights import unpacked
from training.toy_world.comparison import SIGMAS
from training.toy_world.metrics import measure
from training.toy_world.network import ToyNetwork
from training.toy_world.task import clips_of
from training.toy_world.teaching import Budget, teach_regression
from training.toy_world.world import CHUNKS, Prompt

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
_CLIPS, _TIMES = 48, 4


@pytest.fixture(scope="module")
def student() -> ToyNetwork:
    network = ToyNetwork()
    network.load_state_dict(unpacked(load_file(WEIGHTS)))
    return network.requires_grad_(False)


def measured(
    network: ToyNetwork, steps: int = 4, times: int = 1, sink: str = "static"
) -> dict[str, float]:
    torch.manual_seed(1)
    prompt = Prompt.each(_CLIPS)
    sigmas = SIGMAS[:: len(SIGMAS) // steps]
    clips = clips_of(network, prompt, sigmas, times * CHUNKS, cache=SINKS[sink])
    return measure(clips, prompt, first=(times - 1) * CHUNKS)


def test_steps_are_what_legality_is_bought_with(student: ToyNetwork) -> None:
    assert measured(student)["legal"] > measured(student, steps=1)["legal"] + 0.1


def test_regression_from_the_same_student_is_blank(student: ToyNetwork) -> None:
    before = measured(student, steps=1)["legal"]
    torch.manual_seed(2)
    learner = ToyNetwork()
    learner.load_state_dict(student.state_dict())
    taught = teach_regression(learner, Budget(updates=30)).network
    assert measured(taught, steps=1)["legal"] < before / 2
    assert measured(taught, steps=1)["legal"] < measured(student)["legal"] / 4


def test_without_a_sink_the_sprite_is_forgotten(student: ToyNetwork) -> None:
    kept, lost = (measured(student, times=_TIMES, sink=sink) for sink in ("static", "none"))
    assert kept["hue_drift"] < lost["hue_drift"]
