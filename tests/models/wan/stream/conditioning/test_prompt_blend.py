"""A prompt that changes over several chunks: which text each attends to, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.wan.loading import empty_student
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.text_prompt import PromptBlend, TextPrompt
from rollcast.models.wan.stream.conditioning.conditioner import ChunkPlace, Parts
from rollcast.models.wan.stream.conditioning.text import TextConditioner, TextState
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.stream.stream_state import WanState
from rollcast.models.wan.text.blend import toward

from ...conftest import PROMPTS, ModelOf

FROM, TO, THEN = PROMPTS[:3]


class Texts(TextConditioner):
    """A conditioner whose texts are at hand."""

    def read(self, prompt: str) -> Tensor:
        generator = torch.Generator().manual_seed(sum(map(ord, prompt)))
        return torch.randn(2 + len(prompt) % 5, 8, generator=generator)


def conditioner(**stated: Any) -> Texts:
    preset = preset_named("self-forcing")
    device = torch.device("cpu")
    parts = Parts(
        preset=preset,
        student=preset.student,
        network=empty_student(preset.student),
        size=(64, 32),
        device=device,
        dtype=torch.float32,
    )
    return Texts(TextPrompt(**stated), parts)


def told(texts: Texts, state: TextState, chunk: int) -> Tensor:
    return plan(texts, state, chunk)[0]


def plan(texts: Texts, state: TextState, chunk: int) -> tuple[Tensor, bool, bool]:
    place = ChunkPlace(chunk=chunk, start=3 * chunk, frames=3, seed=0)
    part = texts.plan(state, place, None)
    return part.tensors["embeddings"], part.plain["recaches"], part.plain["opens_shot"]


@pytest.mark.parametrize("blend", ["linear", "slerp"])
def test_each_chunk_is_a_part_of_the_way_further(blend: PromptBlend) -> None:
    texts = conditioner(blend=blend)
    state = texts.start(StreamRequest(prompt=FROM))
    a, b = texts.read(FROM), texts.read(TO)
    assert torch.equal(told(texts, state, 0), a)
    texts.asked(state, Controls(prompt=TO, transition_chunks=3))()
    for chunk, share in enumerate((0.25, 0.5, 0.75), 1):
        assert (told(texts, state, chunk) - toward(a, b, share, blend)).abs().max() < 1e-5
    assert torch.equal(told(texts, state, 4), b) and torch.equal(told(texts, state, 5), b)
    assert state.target is None and set(state.tensors()) == {"embeddings"}


def test_without_a_transition_it_changes_at_once() -> None:
    texts = conditioner()
    state = texts.start(StreamRequest(prompt=FROM))
    told(texts, state, 0)
    texts.asked(state, Controls(prompt=TO))()
    assert torch.equal(told(texts, state, 1), texts.read(TO))


def test_another_prompt_on_the_way_begins_from_there() -> None:
    texts = conditioner()
    state = texts.start(StreamRequest(prompt=FROM))
    told(texts, state, 0)
    texts.asked(state, Controls(prompt=TO, transition_chunks=1))()
    halfway = told(texts, state, 1)
    texts.asked(state, Controls(prompt=THEN, transition_chunks=1))()
    wanted = toward(halfway, texts.read(THEN), 0.5, "linear")
    assert torch.equal(told(texts, state, 2), wanted)
    assert torch.equal(told(texts, state, 3), texts.read(THEN))


def test_a_stream_that_starts_anew_has_arrived() -> None:
    texts = conditioner()
    state = texts.start(StreamRequest(prompt=FROM))
    texts.asked(state, Controls(prompt=TO, transition_chunks=8))()
    assert torch.equal(told(texts, state, 0), texts.read(TO))
    assert torch.equal(told(texts, state, 1), texts.read(TO))


def test_the_past_is_written_anew_under_each_text_of_the_way() -> None:
    texts = conditioner(switch="recache")
    state = texts.start(StreamRequest(prompt=FROM))
    assert [plan(texts, state, k)[1] for k in (0, 1)] == [False, False]
    texts.asked(state, Controls(prompt=TO, transition_chunks=2))()
    assert [plan(texts, state, k)[1] for k in (2, 3, 4, 5)] == [True, True, True, False]


def test_cuts_take_no_time() -> None:
    texts = conditioner(switch="restart")
    state = texts.start(StreamRequest(prompt=FROM))
    assert texts.asked(state, Controls(prompt=TO, transition_chunks=5))()
    assert torch.equal(told(texts, state, 0), texts.read(TO))
    texts = conditioner(shot_prefix="Cut: ", shot_offset=8.0)
    state = texts.start(StreamRequest(prompt=FROM))
    told(texts, state, 0)
    assert not texts.asked(state, Controls(prompt=f"Cut: {TO}", transition_chunks=5))()
    embeddings, _, opens_shot = plan(texts, state, 1)
    assert opens_shot and torch.equal(embeddings, texts.read(f"Cut: {TO}"))
    assert not plan(texts, state, 2)[2]


def test_a_state_on_the_way_is_saved() -> None:
    texts = conditioner()
    state = texts.start(StreamRequest(prompt=FROM))
    texts.asked(state, Controls(prompt=TO, transition_chunks=3))()
    state = replace(state)
    told(texts, state, 1)
    again = texts.restore(dict(state.tensors()), state.metadata())
    for chunk in (2, 3, 4):
        assert torch.equal(told(texts, state, chunk), told(texts, again, chunk))


def test_a_stream_that_was_saved_on_the_way_goes_on_bit_for_bit(model_of: ModelOf) -> None:
    model = model_of("longlive")
    state = model.start(StreamRequest(seed=2, prompt=FROM))
    model.step(state, Controls())
    first = model.step(state, Controls(prompt=TO, transition_chunks=3))
    again = model.restore(model.snapshot(state))
    at_once = changed_at_once(model)
    assert not (first.frames == at_once.frames).all(), "it is on the way only"
    for _ in range(4):
        one, other = model.step(state, Controls()), model.step(again, Controls())
        assert (one.frames == other.frames).all()


def changed_at_once(model: WanModel) -> Any:
    state: WanState = model.start(StreamRequest(seed=2, prompt=FROM))
    model.step(state, Controls())
    return model.step(state, Controls(prompt=TO))
