"""Track-v0 as a stream: its published loop, and what a viewer does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rollcast.models import picture
from rollcast.models.contract import (
    CameraMotion,
    Chunk,
    Controls,
    StreamRequest,
    TrackEvent,
)
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.sampling.chunk_maker import ChunkMaker
from rollcast.models.staged_model import counter_noise
from rollcast.models.student.conditioning import Conditions
from rollcast.models.wan.image_condition import image_channels
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.stream.conditioning.image_to_video import ImageConditioner, ImageState
from rollcast.models.wan.stream.live_bytes import LiveBytes
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.stream.stream_state import WanState
from rollcast.models.wan.track_map import first_maps, nearest_cell_track_map

from ....variants import some_of
from ..conftest import PROMPTS, SIZE, FolderOf, ModelOf
from ..running import SNAPSHOT_CHUNKS, beside, frames, staged, submitted, through_a_kill
from .test_memory_plan import loaded, planned

pytestmark = pytest.mark.slow

NAME = "track-v0"
PAN = CameraMotion((0.4, 0.0, 0.0))


def down(key: int, x: float, y: float) -> TrackEvent:
    return TrackEvent(key, "down", x, y)


def move(key: int, x: float, y: float) -> TrackEvent:
    return TrackEvent(key, "move", x, y)


def image() -> bytes:
    """A picture of another shape than the frames'."""
    return picture.sample(128)


def other_image() -> bytes:
    """Another one."""
    return picture.sample(256, 80)


LOG = [
    Controls(),
    Controls(tracks=(down(1, 0.3, 0.5), move(1, 0.7, 0.4))),
    Controls(prompt=PROMPTS[0], tracks=(down(2, 0.8, 0.8), move(2, 0.4, 0.2))),
    Controls(tracks=(TrackEvent(3, "anchor", 0.1, 0.9),), camera=PAN),
    Controls(tracks=(TrackEvent(1, "up", 0.7, 0.4),)),
    Controls(camera=CameraMotion()),
    Controls(clear_tracks=None),
]


def started(model: WanModel, seed: int = 1, **more: Any) -> WanState:
    return model.start(StreamRequest(**({"seed": seed, "image": image()} | more)))


def run(model: WanModel, log: Sequence[Controls], seed: int = 1) -> list[Chunk]:
    state = started(model, seed)
    return [model.step(state, controls) for controls in log]


@torch.inference_mode()
def published_loop(model: WanModel, log: Sequence[Controls]) -> Tensor:
    """Latents [1, F, C, h, w] as published: the clip encoded whole, one map of all points."""
    student, preset = model._calls.student, preset_named(NAME)
    maker = ChunkMaker(student, preset.recipe, preset.cache)
    state, rows, columns = started(model), SIZE[1] // 8, SIZE[0] // 8
    conditioner = conditioner_of(model)
    plans = [model.prepare(state, controls) for controls in log]
    clip = torch.zeros(1, 12 * len(log) - 11, 3, SIZE[1], SIZE[0])
    levels = torch.from_numpy(picture.fitted_pixels(image(), *SIZE).copy())
    clip[0, 0] = levels.permute(2, 0, 1).float() / 127.5 - 1
    condition = conditioner._vae.encode(clip, {})
    stream = maker.start(height=rows, width=columns)
    made: list[Tensor] = []
    for number, plan in enumerate(plans):
        part = plan.tensors
        first = 0 if number == 0 else 3 * number - 2
        count = 1 if number == 0 else 3
        maps = nearest_cell_track_map(
            part["tracks.points"],
            part["tracks.visibility"],
            part["tracks.ids"],
            rows=rows,
            columns=columns,
            dim=64,
        )
        shape = (1, count, 16, rows, columns)
        noises = iter([counter_noise(plan, k, shape) for k in range(4)])
        latents = maker.next(
            stream,
            next(noises),
            maker.encode(part["text.embeddings"][None], part["image.features"][None]),
            Conditions(
                channels=image_channels(condition[:, first : first + count], first),
                tracks=first_maps(maps, 4)[None],
            ),
            renoise=lambda _, noises=noises: next(noises),
        )
        assert latents is not None
        made.append(latents)
    return torch.cat(made, dim=1)


def conditioner_of(model: WanModel) -> ImageConditioner:
    (found,) = (each for each in model._calls.conditioners if isinstance(each, ImageConditioner))
    return found


def image_state(state: WanState) -> ImageState:
    kept = state.conditioning.kinds["image"]
    assert isinstance(kept, ImageState)
    return kept


def test_a_stream_is_the_published_loop_and_one_pass_of_the_decoder(model_of: ModelOf) -> None:
    model = model_of(NAME)
    made = frames(run(model, LOG))
    with torch.inference_mode():
        whole = model._decoder.decode(published_loop(model, LOG), {})[0]
    wanted = whole.add(1).mul(127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert made.shape == (12 * len(LOG) - 11, SIZE[1], SIZE[0], 3)
    # encoder and decoder add in another order when they work in pieces
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert 5 < made.std() < 120, "a picture, not a flat one"


def test_it_is_what_its_preset_says(model_of: ModelOf) -> None:
    model = model_of(NAME)
    assert model.info.inputs.names == {"prompt", "seed", "image", "tracks", "camera"}
    wanted = model.info.inputs.image
    assert wanted is not None and wanted.required and (wanted.width, wanted.height) == SIZE
    assert (model.info.chunk_frames, model.info.first_chunk_frames) == (12, 1)
    assert model.chunk_steps.most_stages == 2


def test_the_student_is_told_whole_times_of_a_schedule_shifted_twice(
    model_of: ModelOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(NAME)
    calls: list[tuple[int, float]] = []
    forward = model._calls.student.forward_rows

    def counted(latents: Tensor, times: Tensor, *rest: Any) -> Tensor:
        calls.append((latents.shape[1], float(times[0, 0])))
        return forward(latents, times, *rest)

    monkeypatch.setattr(model._calls.student, "forward_rows", counted)
    run(model, [Controls()] * 2)
    times = (1000.0, 947.0, 858.0, 671.0, 0.0)
    assert calls == [(1, time) for time in times] + [(3, time) for time in times]


def test_no_stream_begins_without_an_image(model_of: ModelOf) -> None:
    with pytest.raises(ValueError, match="needs an image to start from"):
        started(model_of(NAME), image=None)
    with pytest.raises(ValueError, match="no picture that can be read"):
        started(model_of(NAME), image=b"GIF89a")


CHANGES: Mapping[str, Controls] = {
    "drag": Controls(tracks=(down(1, 0.5, 0.5), move(1, 0.8, 0.7))),
    "anchor": Controls(tracks=(TrackEvent(1, "anchor", 0.5, 0.5),)),
    "camera": Controls(camera=PAN),
    "prompt": Controls(prompt=PROMPTS[1]),
    "seed": Controls(seed=9),
    "image": Controls(image=other_image()),
    "reset": Controls(reset=True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_asked_for_shows_in_the_chunk_that_hears_of_it(
    name: str, model_of: ModelOf
) -> None:
    """From event to picture it takes the chunk under way and this one; nothing waits longer."""
    model = model_of(NAME)
    plain = run(model, [Controls()] * 4)
    told = run(model, [Controls(), Controls(), CHANGES[name], Controls()])
    assert np.array_equal(frames(told[:2]), frames(plain[:2])), "nothing before it changes"
    if name in ("seed", "image", "reset"):
        assert told[2].frames.shape[0] == 1, "the stream starts anew"
        fresh = {"seed": {"seed": 9}, "image": {"image": other_image()}, "reset": {}}[name]
        state = started(model, **fresh)
        again = [model.step(state, Controls()) for _ in range(2)]
        assert np.array_equal(frames(told[2:]), frames(again))
    else:
        assert not np.array_equal(told[2].frames, plain[2].frames)


def test_a_press_alone_changes_nothing_and_a_click_neither(model_of: ModelOf) -> None:
    model = model_of(NAME)
    plain = run(model, [Controls()] * 3)
    click = Controls(tracks=(down(1, 0.5, 0.5), TrackEvent(1, "up", 0.5, 0.5)))
    for controls in (Controls(tracks=(down(1, 0.5, 0.5),)), click):
        assert np.array_equal(frames(run(model, [Controls(), controls, Controls()])), frames(plain))


def test_held_and_released(model_of: ModelOf) -> None:
    """What is held says so in every chunk; what was released says nothing from its chunk on."""
    model = model_of(NAME)
    state = started(model)
    drag = Controls(tracks=(down(1, 0.5, 0.5), move(1, 0.8, 0.7)))
    log = [Controls(), drag, Controls(), Controls(tracks=(TrackEvent(1, "up", 0.8, 0.7),))]
    seen = [model.prepare(state, each).tensors["tracks.visibility"] for each in log]
    assert [bool(each.any()) for each in seen] == [False, True, True, False]
    assert bool((seen[2] == 1).all())


def test_fingers_do_not_disturb_each_other(model_of: ModelOf) -> None:
    """However their events were mixed."""
    model = model_of(NAME)
    one = (down(1, 0.2, 0.5), move(1, 0.4, 0.6), move(1, 0.5, 0.5))
    two = (down(2, 0.8, 0.5), move(2, 0.6, 0.9))
    mixed = (one[0], two[0], one[1], two[1], one[2])
    made = [
        frames(run(model, [Controls(), Controls(tracks=events), Controls()]))
        for events in (one + two, two + one, mixed)
    ]
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])


def test_the_condition_of_the_image_comes_to_rest(model_of: ModelOf) -> None:
    """Behind the encoder's look-back nothing is encoded any more, and the clip goes on alike."""
    model = model_of(NAME)
    state, conditioner = started(model), conditioner_of(model)
    latents: list[Tensor] = []
    at_rest = None
    for chunk in range(16):
        latents.append(model.prepare(state, Controls()).tensors["image.latents"])
        if at_rest is None and image_state(state).resting:
            at_rest = chunk
            assert image_state(state).memory is None
    assert at_rest is not None and 2 < at_rest < 12
    clip = torch.zeros(1, 12 * 15 + 1, 3, SIZE[1], SIZE[0])
    clip[0, 0] = image_state(state).picture.permute(2, 0, 1) / 127.5 - 1
    with torch.inference_mode():
        whole = conditioner._vae.encode(clip, {})
    # in pieces it adds in another order
    torch.testing.assert_close(torch.cat(latents, 1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cuts", some_of([(1, 9), (0, 4, 12)], (1, 9)), ids=str)
def test_a_restored_stream_goes_on_bit_for_bit(model_of: ModelOf, cuts: Sequence[int]) -> None:
    """Whether the encoder still remembers the picture, or has come to rest."""
    model, other = model_of(NAME), model_of(NAME)
    log = [*LOG, *[Controls()] * 3, Controls(image=other_image()), *LOG[:3]]
    state = started(model)
    snapshots: list[bytes] = []
    undisturbed: list[Chunk] = []
    for controls in log:
        snapshots.append(model.snapshot(state))
        undisturbed.append(model.step(state, controls))
    for cut in cuts:
        restored = other.restore(snapshots[cut])
        rest = [other.step(restored, controls) for controls in log[cut:]]
        assert np.array_equal(frames(rest), frames(undisturbed[cut:])), cut


@pytest.mark.long
def test_two_streams_in_a_batch_do_not_see_each_other(model_of: ModelOf) -> None:
    mine = StreamRequest(seed=1, image=image())
    others = (StreamRequest(seed=seed, image=other_image()) for seed in (5, 9))
    other_logs = ([Controls()] * len(LOG), [*LOG[::-1][:-1], Controls(prompt=PROMPTS[2])])
    still, dragging = (
        beside(model_of(NAME), LOG, other, other_log, mine)
        for other, other_log in zip(others, other_logs, strict=True)
    )
    assert np.array_equal(still, dragging)
    alone = frames(run(model_of(NAME), LOG)).astype(int)
    assert np.abs(still - alone).max() <= 1


@pytest.mark.parametrize("sessions", some_of([1, 2], 1))
def test_a_plan_is_what_lives_at_once(sessions: int, weighed_folder_of: FolderOf) -> None:
    """Within 5%, while the encoder still remembers every stream's picture."""
    folder, live = weighed_folder_of(NAME), LiveBytes()
    with live:
        model = loaded(NAME, folder, sessions)
        states = [started(model, k) for k in range(sessions)]
        for controls in LOG[:4]:
            for state in states:
                model.step(state, controls)
    assert live.peak == pytest.approx(planned(NAME, folder).total(sessions), rel=0.05)


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.parametrize("stages", [2, 1])
def test_stages_make_the_same_frames_bit_for_bit(
    stages: int, folder_of: FolderOf, model_of: ModelOf
) -> None:
    plan = StagePlan((tuple(range(5)), ()), 1) if stages == 2 else None
    request = StreamRequest(seed=1, image=image())
    with staged(NAME, folder_of(NAME), stages, request, plan=plan) as pipeline:
        made = submitted(pipeline, LOG)
    assert np.array_equal(frames(made), frames(run(model_of(NAME), LOG)))


@pytest.mark.long
@pytest.mark.processes
def test_a_process_that_is_killed_is_a_pause(folder_of: FolderOf, model_of: ModelOf) -> None:
    """Behind its first snapshot, while a finger holds and the camera goes on."""
    chunks = SNAPSHOT_CHUNKS + 3
    log = [LOG[k % len(LOG)] for k in range(chunks)]
    request = StreamRequest(seed=1, image=image())
    made = through_a_kill(NAME, folder_of(NAME), log, request)
    assert np.array_equal(frames(made), frames(run(model_of(NAME), log)))
