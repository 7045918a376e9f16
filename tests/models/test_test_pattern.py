"""The test pattern shows what it was told, the same way every time."""

from typing import Any

import numpy as np
import pytest

from rollcast.models.contract import Chunk, Controls, Model, StreamRequest, TrackEvent
from rollcast.models.test_pattern import CHUNK_SAMPLES, TestPattern, prompt_colour, read_barcode

LOUD = np.full(CHUNK_SAMPLES, 6000, np.int16)


def run(model: TestPattern, state: object, *controls: Controls) -> list[Chunk]:
    return [model.step(state, each) for each in controls]


def test_it_is_a_stepper() -> None:
    model = TestPattern()
    assert isinstance(model, Model)
    assert model.info.chunk_samples == CHUNK_SAMPLES
    assert all(scene.thumbnail for scene in model.info.scenes)


def test_the_barcode_counts_frames() -> None:
    model = TestPattern()
    chunks = run(model, model.start(StreamRequest(seed=1)), *[Controls()] * 3)
    assert [read_barcode(frame) for chunk in chunks for frame in chunk.frames] == list(range(12))
    assert [chunk.index for chunk in chunks] == [0, 1, 2]


def test_audio_is_shown_one_chunk_after_it_was_fed() -> None:
    model = TestPattern()
    fed, shown, after = run(
        model, model.start(StreamRequest(seed=1)), Controls(audio=LOUD), Controls(), Controls()
    )
    assert not fed.talking and not fed.audio.any()
    assert shown.talking and (shown.audio == LOUD).all()
    assert not after.talking
    mouth = (slice(76, 80), slice(44, 84))
    assert shown.frames[0][mouth].max() < 60 < fed.frames[0][mouth].max()


def test_clear_audio_drops_what_was_not_shown() -> None:
    model = TestPattern()
    _, shown = run(
        model, model.start(StreamRequest(seed=1)), Controls(audio=LOUD), Controls(clear_audio=True)
    )
    assert not shown.talking and not shown.audio.any()


def test_a_prompt_changes_the_colour_band_over_its_transition() -> None:
    model = TestPattern()
    state = model.start(StreamRequest(seed=1, prompt="red"))
    chunks = run(model, state, Controls(prompt="blue", transition_chunks=1), Controls())
    bands = [tuple(int(value) for value in chunk.frames[0, 12, 64]) for chunk in chunks]
    assert bands[0] not in (prompt_colour("red"), prompt_colour("blue"))
    assert bands[1] == prompt_colour("blue")


def test_a_dragged_disc_is_where_the_pointer_is() -> None:
    model = TestPattern()
    state = model.start(StreamRequest(seed=1, scene="grid"))
    down, move, up = run(
        model,
        state,
        Controls(tracks=(TrackEvent(1, "down", 0.25, 0.5),)),
        Controls(tracks=(TrackEvent(1, "move", 0.75, 0.5),)),
        Controls(tracks=(TrackEvent(1, "up", 0.75, 0.5),)),
    )
    yellow = (250, 220, 40)
    assert tuple(down.frames[-1, 64, 32]) == yellow
    assert tuple(move.frames[-1, 64, 95]) == yellow
    assert tuple(move.frames[1, 64, 64]) == yellow
    assert not (up.frames[-1] == yellow).all(axis=-1).any()


def test_tracks_are_cleared_by_id_or_all_together() -> None:
    model = TestPattern()
    state = model.start(StreamRequest(seed=1))
    points = tuple(TrackEvent(id, "anchor", 0.5, 0.5) for id in range(3))
    run(model, state, Controls(tracks=points), Controls(clear_tracks=(1,)))
    assert set(state.tracks) == {0, 2}
    run(model, state, Controls(clear_tracks=None))
    assert not state.tracks


def test_reset_with_a_seed_equals_a_new_stream() -> None:
    model = TestPattern()
    used = model.start(StreamRequest(seed=1))
    run(model, used, Controls(audio=LOUD), Controls(tracks=(TrackEvent(0, "down", 0.1, 0.9),)))
    again = run(model, used, Controls(reset=True, seed=5), Controls())
    fresh = run(model, model.start(StreamRequest(seed=5)), Controls(), Controls())
    for a, b in zip(again, fresh, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)


def test_seeds_differ() -> None:
    model = TestPattern()
    a, b = (model.step(model.start(StreamRequest(seed=seed)), Controls()).frames for seed in (1, 9))
    assert (a != b).any()


def test_a_restored_stream_goes_on_as_if_never_stopped() -> None:
    model = TestPattern()
    state = model.start(StreamRequest(seed=3, scene="grid", prompt="a green wall"))
    run(
        model,
        state,
        Controls(audio=LOUD, tracks=(TrackEvent(2, "anchor", 0.3, 0.6),)),
        Controls(prompt="yellow", transition_chunks=3),
    )
    copy = model.restore(model.snapshot(state))
    for a, b in zip(
        run(model, state, *[Controls()] * 3), run(model, copy, *[Controls()] * 3), strict=True
    ):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.audio, b.audio)
        assert a.index == b.index


def test_an_unknown_scene_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="bars, grid"):
        TestPattern().start(StreamRequest(seed=1, scene="moon"))


@pytest.mark.parametrize(
    "refused",
    [{"scene": "moon"}, {"picture": b"none"}, {"audio": np.zeros(CHUNK_SAMPLES + 1, np.int16)}],
)
def test_what_is_refused_changes_nothing(refused: dict[str, Any]) -> None:
    model = TestPattern()
    state = model.start(StreamRequest(seed=1))
    model.step(state, Controls(audio=LOUD))
    before = model.snapshot(state)
    with pytest.raises(ValueError):
        model.step(state, Controls(seed=5, reset=True, prompt="blue", clear_audio=True, **refused))
    assert model.snapshot(state) == before
