"""A picture that a stream brings: shown, obedient, its own, forgotten with it, made anywhere."""

from __future__ import annotations

import gc
import os
import signal
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from rollcast.models.contract import PICTURE, Chunk, Controls, StreamRequest, TrackEvent
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.package import Package, pack, unpack
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.pipeline.stage_pool import Patience
from rollcast.models.pocket.audio import CHUNK_SAMPLES
from rollcast.models.pocket.autoencoder import PICTURE_SIZE
from rollcast.models.pocket.model import PocketModel, PocketState
from rollcast.models.staged_model import Row
from rollcast.models.state import DecoderState

from ...pictures import BLUE, RED, portrait
from ...variants import some_of

pytestmark = pytest.mark.slow

SPEECH = (np.random.default_rng(0).standard_normal(CHUNK_SAMPLES) * 5000).astype(np.int16)
LOG = [
    Controls(),
    Controls(picture=portrait(RED), audio=SPEECH),
    Controls(tracks=(TrackEvent(1, "down", 0.5, 0.5), TrackEvent(1, "move", 0.8, 0.5))),
    Controls(prompt="smiling"),
    Controls(scene="toys"),
    Controls(scene=PICTURE),
    Controls(reset=True),
    Controls(prompt="a woman"),
    Controls(picture=portrait(BLUE), scene="toys"),
    Controls(scene=PICTURE),
]
SCENES = ["ann-red", *[PICTURE] * 3, "toys", *[PICTURE] * 2, "ann-red", "toys", PICTURE]


def run(model: PocketModel, state: PocketState, log: list[Controls]) -> list[Chunk]:
    return [model.step(state, controls) for controls in log]


def same(a: list[Chunk], b: list[Chunk]) -> bool:
    return [c.scene for c in a] == [c.scene for c in b] and all(
        np.array_equal(x.frames, y.frames) for x, y in zip(a, b, strict=True)
    )


def test_it_is_shown_at_once_left_and_shown_again(model: PocketModel) -> None:
    assert [chunk.scene for chunk in run(model, model.start(StreamRequest(seed=1)), LOG)] == SCENES


def test_a_stream_may_begin_with_it(model: PocketModel) -> None:
    begun = model.start(StreamRequest(seed=1, picture=portrait(), prompt="a woman"))
    assert model.step(begun, Controls()).scene == PICTURE
    aside = model.start(StreamRequest(seed=1, picture=portrait(), scene="toys"))
    assert [c.scene for c in run(model, aside, [Controls(), Controls(scene=PICTURE)])] == [
        "toys",
        PICTURE,
    ]


def test_a_new_picture_in_place_of_one_begins_anew(model: PocketModel) -> None:
    state = model.start(StreamRequest(seed=1, picture=portrait(RED)))
    red = model.step(state, Controls())
    again = model.restore(model.snapshot(state))
    assert model.prepare(again, Controls(picture=portrait(BLUE))).restart, "a new sink"
    blue = model.step(state, Controls(picture=portrait(BLUE)))
    assert red.frames[..., 2].mean() + 20 < blue.frames[..., 2].mean()


def test_the_frames_have_the_colours_of_the_picture(model: PocketModel) -> None:
    red, blue = (
        model.step(
            model.start(StreamRequest(seed=1, picture=portrait(behind))), Controls()
        ).frames.mean((0, 1, 2))
        for behind in (RED, BLUE)
    )
    assert red[0] > blue[0] + 20 and blue[2] > red[2] + 20


def test_it_obeys_speech_hands_and_expressions(model: PocketModel) -> None:
    told = (
        Controls(audio=SPEECH),
        Controls(prompt="smiling"),
        Controls(tracks=(TrackEvent(1, "down", 0.5, 0.5), TrackEvent(1, "move", 0.9, 0.5))),
    )
    still = run(model, model.start(StreamRequest(seed=1, picture=portrait())), [Controls()] * 3)
    for controls in told:
        moved = run(
            model,
            model.start(StreamRequest(seed=1, picture=portrait())),
            [controls, *[Controls()] * 2],
        )
        assert moved[-1].scene == PICTURE
        assert not np.array_equal(moved[-1].frames, still[-1].frames), controls


def test_no_other_stream_sees_it(model: PocketModel) -> None:
    told = LOG[:7]
    alone = run(model, model.start(StreamRequest(seed=1)), told)
    other = [Controls(picture=portrait(BLUE)), *told[2:]]
    log = list(zip(told[1:], other, strict=True))
    one, two = model.start(StreamRequest(seed=1)), model.start(StreamRequest(seed=2))
    mixed = [model.step(one, told[0])]
    for mine, theirs in log:
        mixed.append(model.step(one, mine))
        model.step(two, theirs)
    assert same(mixed, alone)
    with pytest.raises(ValueError, match="unknown scene 'picture'"):
        model.step(model.start(StreamRequest(seed=3)), Controls(scene=PICTURE))


@pytest.mark.parametrize("cut", some_of([2, 5, 9], 5))
def test_it_survives_a_snapshot(model: PocketModel, cut: int) -> None:
    state = model.start(StreamRequest(seed=9))
    run(model, state, LOG[:cut])
    again = model.restore(model.snapshot(state))
    assert same(run(model, again, LOG[cut:]), run(model, state, LOG[cut:]))


def test_nothing_of_it_is_left_when_the_stream_is_gone(model: PocketModel) -> None:
    state = model.start(StreamRequest(seed=1, picture=portrait()))
    run(model, state, [Controls(), Controls(scene="toys"), Controls(scene=PICTURE)])
    assert state.conditioning.picture is not None
    seen = [state.conditioning.picture.look.features.front, state.conditioning.picture.look.base]
    seen += [
        state.decoder.derived[PICTURE].look.features.front,
        state.decoder.derived[PICTURE].look.channels,
    ]
    left = [weakref.ref(tensor) for tensor in seen]
    del state, seen
    gc.collect()
    assert [ref() for ref in left] == [None] * 4
    assert PICTURE not in {scene for scene, _ in model.denoiser._sinks}


def test_a_bad_picture_is_refused(model: PocketModel) -> None:
    with pytest.raises(ValueError, match="Send a JPEG"):
        model.start(StreamRequest(seed=1, picture=b"no picture"))
    with pytest.raises(ValueError, match="Send a JPEG"):
        model.step(model.start(StreamRequest(seed=1)), Controls(picture=b"no picture"))


@pytest.mark.long
def test_another_process_can_make_every_step_and_the_frames(
    model: PocketModel, folder: Path
) -> None:
    """Plans alone are told to a model that has never met the stream."""
    expected = run(model, model.start(StreamRequest(seed=4)), LOG)
    elsewhere, state = PocketModel(folder), model.start(StreamRequest(seed=4))
    caches = [elsewhere.new_cache() for _ in range(model.chunk_steps.caches)]
    decoder = DecoderState()
    for controls, chunk in zip(LOG, expected, strict=True):
        plan = unpack(pack(Package("a", model.prepare(state, controls)))).package.plan
        assert plan is not None
        latents: torch.Tensor | None = None
        for call, cache in enumerate(caches):
            (latents,) = elsewhere.denoise([Row(plan, call, latents, cache)])
        assert latents is not None
        assert np.array_equal(elsewhere.decode(plan, latents, decoder).frames, chunk.frames)
    size = len(pack(Package("a", model.prepare(state, Controls()))))
    assert size < 250_000, "a plan is small"
    assert model.info.inputs.picture is not None and model.info.inputs.picture.size == PICTURE_SIZE


@pytest.mark.long
@pytest.mark.timeout(180)
def test_stages_show_the_same_and_go_on_after_a_loss(model: PocketModel, folder: Path) -> None:
    executor = Sequential(model)
    request = StreamRequest(seed=4, picture=portrait(RED))
    executor.open("a", request)
    expected = [f.chunk for controls in LOG for f in make_chunk(executor, "a", controls)]
    spec = ModelSpec("rollcast.models.pocket.model:PocketModel", {"folder": str(folder)})
    patience = Patience(silent_s=30.0, late_s=30.0)
    pipeline = Pipeline(spec, 3, plan=StagePlan(((0,), (1,), ()), 2), patience=patience)
    pipeline.start()
    try:
        pipeline.open("a", request)
        done = [f for controls in LOG[:6] for f in make_chunk(pipeline, "a", controls)]
        os.kill(pipeline.pids[2], signal.SIGKILL)
        done += [f for controls in LOG[6:] for f in make_chunk(pipeline, "a", controls)]
        done += make_rest(pipeline)
        assert pipeline.restarts == 1
    finally:
        pipeline.stop()
    assert same([f.chunk for f in done], expected)
