"""Streams of the pocket model: reproducible, isolated, resumable, obedient."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from rollcast.models.contract import Chunk, Controls, Model, StreamRequest, TrackEvent
from rollcast.models.pocket.audio import CHUNK_SAMPLES
from rollcast.models.pocket.conditions import VISEMES
from rollcast.models.pocket.idle import NOD, POSE
from rollcast.models.pocket.model import PocketModel
from rollcast.models.student.conditioning import TextContext

from ...variants import some_of

PITCH_SPREAD = 0.07  # radians of one unit of what the student is told


def _speech(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(CHUNK_SAMPLES) * 5000).astype(np.int16)


LOG = [
    Controls(audio=_speech(0)),
    Controls(audio=_speech(1), prompt="smiling", transition_chunks=3),
    Controls(tracks=(TrackEvent(1, "down", 0.3, 0.3), TrackEvent(1, "move", 0.5, 0.4))),
    Controls(scene="toys"),
    Controls(tracks=(TrackEvent(2, "down", 0.32, 0.32), TrackEvent(2, "move", 0.6, 0.4))),
    Controls(clear_tracks=None),
    Controls(prompt="a woman"),
    Controls(clear_audio=True),
    Controls(),
]


def _same(a: Chunk, b: Chunk) -> bool:
    return (
        np.array_equal(a.frames, b.frames)
        and np.array_equal(a.audio, b.audio)
        and (a.index, a.talking, a.scene) == (b.index, b.talking, b.scene)
    )


def test_it_is_a_stepper_and_says_what_it_makes(model: PocketModel) -> None:
    assert isinstance(model, Model)
    chunk = model.step(model.start(StreamRequest(seed=1)), Controls())
    info = model.info
    assert chunk.frames.shape == (info.chunk_frames, info.height, info.width, 3)
    assert chunk.frames.dtype == np.uint8
    assert len(chunk.audio) == info.chunk_samples == 2560
    assert info.chunk_us == 160_000


@pytest.mark.slow
def test_same_seed_and_log_give_the_same_pixels(model: PocketModel) -> None:
    first, second = model.start(StreamRequest(seed=5)), model.start(StreamRequest(seed=5))
    other = model.start(StreamRequest(seed=6))
    differs = False
    for controls in LOG:
        a, b = model.step(first, controls), model.step(second, controls)
        assert _same(a, b)
        differs = differs or not _same(a, model.step(other, controls))
    assert differs


@pytest.mark.slow
def test_interleaved_streams_are_each_as_if_alone(model: PocketModel) -> None:
    alone = [model.step(state, c) for state in [model.start(StreamRequest(seed=1))] for c in LOG]
    reverse = [
        model.step(state, c) for state in [model.start(StreamRequest(seed=2))] for c in LOG[::-1]
    ]
    one, two = model.start(StreamRequest(seed=1)), model.start(StreamRequest(seed=2))
    for k, (forward, backward) in enumerate(zip(LOG, LOG[::-1], strict=True)):
        assert _same(model.step(one, forward), alone[k])
        assert _same(model.step(two, backward), reverse[k])


def test_streams_that_show_the_same_share_its_words_and_its_sink(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PocketModel(folder)
    encoded: list[Tensor] = []
    encode = model.denoiser.student.encode_text

    def counted(words: Tensor) -> TextContext:
        encoded.append(words)
        return encode(words)

    monkeypatch.setattr(model.denoiser.student, "encode_text", counted)
    first, second = (model.start(StreamRequest(seed=seed)) for seed in (1, 2))
    model.step(first, Controls())
    model.step(second, Controls())
    assert len(encoded) == len(model.denoiser._sinks) == 1
    model.step(second, Controls(scene="toys"))
    assert len(encoded) == len(model.denoiser._sinks) == 2


@pytest.mark.slow
@pytest.mark.parametrize("cut", some_of([0, 1, 3, 5], 3))
def test_restored_stream_equals_one_that_never_stopped(model: PocketModel, cut: int) -> None:
    state = model.start(StreamRequest(seed=9))
    for controls in LOG[:cut]:
        model.step(state, controls)
    again = model.restore(model.snapshot(state))
    for controls in LOG[cut:]:
        assert _same(model.step(state, controls), model.step(again, controls))


def test_a_stream_goes_on_in_larger_frames(model: PocketModel, folder: Path) -> None:
    larger = PocketModel(folder, name="pocket-256", size=256)
    assert (larger.info.name, larger.info.width, larger.info.height) == ("pocket-256", 256, 256)
    assert larger.info.title != model.info.title, "a list shows titles alone"
    small = model.start(StreamRequest(seed=3))
    model.step(small, LOG[0])
    large = larger.restore(model.snapshot(small))
    for controls in LOG[1:4]:
        one, other = model.step(small, controls), larger.step(large, controls)
        assert other.frames.shape == (4, 256, 256, 3)
        assert np.array_equal(one.audio, other.audio) and one.scene == other.scene
        for a, b in zip(one.frames, other.frames, strict=True):
            shrunk = Image.fromarray(b).resize((192, 192), Image.Resampling.BOX)
            assert np.corrcoef(a.ravel(), np.asarray(shrunk).ravel())[0, 1] > 0.98
    assert model.snapshot(small) == larger.snapshot(large), "what is shown is no part of the state"


def test_snapshots_of_something_else_are_refused(model: PocketModel) -> None:
    with pytest.raises(ValueError, match="not a stream snapshot"):
        model.restore(b"hello")
    data = model.snapshot(model.start(StreamRequest(seed=1))).replace(
        b'\\"pocket\\"', b'\\"packet\\"'
    )
    with pytest.raises(ValueError, match="'packet'"):
        model.restore(data)


def test_audio_comes_back_with_its_frames_one_chunk_later(model: PocketModel) -> None:
    state = model.start(StreamRequest(seed=1))
    spoken = [_speech(k) for k in range(3)]
    heard = [model.step(state, Controls(audio=piece)) for piece in spoken]
    assert not heard[0].audio.any() and not heard[0].talking
    assert np.array_equal(heard[1].audio, spoken[0]) and heard[1].talking
    assert np.array_equal(heard[2].audio, spoken[1])


def test_barge_in_drops_what_was_not_shown(model: PocketModel) -> None:
    state = model.start(StreamRequest(seed=1))
    model.step(state, Controls(audio=_speech(0)))
    chunk = model.step(state, Controls(clear_audio=True))
    assert not chunk.audio.any() and not chunk.talking


def test_prompt_chooses_the_look_and_tells_what_it_ignored(model: PocketModel) -> None:
    state = model.start(StreamRequest(seed=1, prompt="toys 微笑"))
    first = model.step(state, Controls())
    assert first.scene == "toys" and first.ignored_words == ("微笑",)
    assert model.step(state, Controls()).ignored_words == ()
    chunk = model.step(state, Controls(prompt="a woman from zanzibar"))
    assert chunk.scene == "ann-red"
    assert chunk.ignored_words == ("from", "zanzibar")


@pytest.mark.slow
def test_an_expression_changes_the_picture_and_eases_in(model: PocketModel) -> None:
    plain, told = model.start(StreamRequest(seed=1)), model.start(StreamRequest(seed=1))
    model.step(plain, Controls())
    model.step(told, Controls(prompt="smiling", transition_chunks=4))
    weights = []
    for _ in range(4):
        a, b = model.step(plain, Controls()), model.step(told, Controls())
        weights.append(float(told.conditioning.words[0, 3]))
    assert weights == pytest.approx([0.5, 0.75, 1.0, 1.0])
    assert not np.array_equal(a.frames, b.frames)


def test_a_sad_head_sinks(model: PocketModel) -> None:
    pitch = []
    for prompt in ("", "sad"):
        state = model.start(StreamRequest(seed=1, prompt=prompt))
        model.step(state, Controls())
        assert state.conditioning.previous is not None
        pitch.append(float(state.conditioning.previous[0, VISEMES + POSE.index("pitch")]))
    assert pitch[1] - pitch[0] == pytest.approx(NOD["sad"] / PITCH_SPREAD, abs=1e-3)


@pytest.mark.slow
def test_who_drags_the_background_pans_the_camera(model: PocketModel) -> None:
    still, panned = (model.start(StreamRequest(seed=4, scene="hills")) for _ in range(2))
    drag = (TrackEvent(1, "down", 0.8, 0.8), TrackEvent(1, "move", 0.9, 0.8))
    for k in range(6):
        model.step(still, Controls())
        model.step(panned, Controls(tracks=drag if k == 0 else ()))
    again = model.restore(model.snapshot(panned))
    here, there = model.step(still, Controls()), model.step(panned, Controls())
    assert np.abs(here.frames.astype(int) - there.frames).mean() > 5
    assert _same(there, model.step(again, Controls()))
    assert (
        panned.conditioning.objects is not None and panned.conditioning.objects.grabs[1].thing == 1
    )


def test_reset_returns_to_the_start(model: PocketModel) -> None:
    state = model.start(StreamRequest(seed=3))
    fresh = model.step(state, Controls())
    model.step(state, Controls(audio=_speech(1)))
    again = model.step(state, Controls(reset=True))
    assert np.array_equal(fresh.frames, again.frames)
    assert again.index == 2
    assert not np.array_equal(model.step(state, Controls(seed=4)).frames, fresh.frames)


def test_unknown_scene_names_the_known_ones(model: PocketModel) -> None:
    with pytest.raises(ValueError, match="ann-red, toys"):
        model.start(StreamRequest(seed=0, scene="nowhere"))


@pytest.mark.parametrize(
    "refused",
    [{"scene": "moon"}, {"picture": b"none"}, {"audio": np.zeros(CHUNK_SAMPLES + 1, np.int16)}],
)
def test_what_is_refused_changes_nothing(model: PocketModel, refused: dict[str, Any]) -> None:
    state = model.start(StreamRequest(seed=1))
    model.step(state, LOG[0])
    before = model.snapshot(state)
    with pytest.raises(ValueError):
        model.prepare(state, Controls(seed=5, prompt="a woman", clear_audio=True, **refused))
    assert model.snapshot(state) == before


@pytest.mark.slow
def test_memory_of_a_stream_does_not_grow(model: PocketModel) -> None:
    state = model.start(StreamRequest(seed=0))
    model.step(state, Controls())
    size = len(model.snapshot(state))
    for _ in range(12):
        model.step(state, Controls(audio=_speech(0)))
    assert abs(len(model.snapshot(state)) - size) < 200
