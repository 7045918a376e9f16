"""Nothing that is done for a chunk makes the host wait for a GPU: told on `meta`, where it raises.

A copy to the host, or a value that is asked for, has no answer there; and a copy from ordinary
memory to the device, which waits too, is counted. Pictures are read when they come, and are waited
for: no chunk brings one by itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.random_model import DrawnTexts
from rollcast.benchmarks.kernels.chunk_operations import HOPPER, MetaStream
from rollcast.benchmarks.kernels.operation_count import counted
from rollcast.models.contract import CameraMotion, Controls, StreamRequest, TrackEvent
from rollcast.models.sampling.flow_schedule import FlowSchedule
from rollcast.models.staged_model import all_calls
from rollcast.models.wan.loading import empty_student
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.models.wan.presets.preset import Preset
from rollcast.models.wan.stream.conditioning.conditioner import ChunkPlace, Parts
from rollcast.models.wan.stream.conditioning.kinds import conditioners
from rollcast.models.wan.stream.contexts import Contexts
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.stream.row_calls import RowCalls
from rollcast.models.wan.tiny_decoder import TinyDecoderConfig
from rollcast.models.wan.vae_files import VAE_DECODER

# Those that differ in what is called, and in what is told.
STREAMED = {(each.student, each.cache): each for each in presets().values()}
STEERED = {
    tuple(map(type, each.conditioning)): each
    for each in presets().values()
    if {"speech", "tracks", "video"} & each.info().inputs.names
}


@pytest.fixture(scope="module", autouse=True)
def tables() -> None:
    """What is made once in a process is not made of a chunk."""
    stream = MetaStream(preset_named("longlive"), layers=1)
    with counted(HOPPER):
        stream.make_chunk(stream.context())


def controls_of(preset_name: str, chunk: int) -> Controls:
    """All that can be said to such a model while it streams."""
    info = preset_named(preset_name).info()
    names, told = info.inputs.names, Controls()
    if "speech" in names:
        sound = np.random.default_rng(chunk).integers(-9000, 9000, info.chunk_samples // 2)
        told = replace(told, audio=sound.astype(np.int16), clear_audio=chunk == 2)
    if "tracks" in names:
        phase = "down" if chunk == 0 else "move"
        told = replace(told, tracks=(TrackEvent(1, phase, 0.3, 0.2 + 0.1 * chunk),))
    if "camera" in names:
        told = replace(told, camera=CameraMotion((0.1, 0.0, 0.2), (0.0, 5.0, 0.0)))
    if "video" in names:
        told = replace(told, video=np.full((3, info.height, info.width, 3), 40 * chunk, np.uint8))
    return told


@pytest.mark.parametrize("preset", STREAMED.values(), ids=lambda preset: preset.name)
def test_no_call_of_any_preset_waits(preset: Preset) -> None:
    stream = MetaStream(preset, layers=1)
    with counted(HOPPER) as count:
        context = stream.context()
        for _ in range(2):
            stream.make_chunk(context)
    assert count.operations and not count.uploads


def joint_model() -> WanModel:
    """One layer of a student with a joint window, as it is served."""
    preset = preset_named("rolling-forcing")
    preset = replace(preset, student=replace(preset.student, num_layers=1))
    student = empty_student(preset.student).to(torch.bfloat16)
    parts = Parts(
        preset=preset,
        student=student.config,
        network=student,
        size=preset.size,
        device=torch.device("meta"),
        dtype=torch.bfloat16,
        reader=DrawnTexts(student.config),
    )
    latent = preset.latent_size(preset.size)
    calls = RowCalls(preset, student, conditioners(parts), latent, kept=1)
    return WanModel(preset, calls, VAE_DECODER.empty(TinyDecoderConfig()), preset.size)


def test_no_chunk_of_a_joint_window_waits() -> None:
    """The first chunk fills it, the second moves it on behind the clean pass of the first."""
    model = joint_model()
    state = model.start(StreamRequest(prompt="a mill"))
    with counted(HOPPER) as count, torch.inference_mode():
        for _ in range(2):
            all_calls(model, [(model.prepare(state, Controls()), state.caches)])
    # five of the window and the clean pass, then one of each
    assert count.launches["modulate"] == 6 + 2 and not count.uploads


def test_a_window_that_waits_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted regression."""
    add_noise = FlowSchedule.add_noise

    def asks(self: FlowSchedule, x: Tensor, noise: Tensor, timestep: float) -> Tensor:
        return add_noise(self, x, noise, min(timestep, float(x.abs().max())))

    monkeypatch.setattr(FlowSchedule, "add_noise", asks)
    model = joint_model()
    state = model.start(StreamRequest(prompt="a mill"))
    with counted(HOPPER), torch.inference_mode(), pytest.raises(RuntimeError, match="item"):
        all_calls(model, [(model.prepare(state, Controls()), state.caches)])


@pytest.mark.slow
@pytest.mark.parametrize("preset", STEERED.values(), ids=lambda preset: preset.name)
def test_no_chunk_waits_for_what_it_is_told(preset: Preset) -> None:
    """Speech, points of a pointer and a camera, live video: from controls to what students see."""
    avatar = preset.student.avatar and replace(preset.student.avatar, inject_layers=(0,))
    student = empty_student(replace(preset.student, num_layers=1, avatar=avatar))
    parts = Parts(
        preset=preset,
        student=student.config,
        network=student.to(torch.bfloat16),
        size=preset.size,
        device=torch.device("meta"),
        dtype=torch.bfloat16,
    )
    told = [each for each in conditioners(parts) if each.kind in ("speech", "tracks", "video")]
    assert told
    recipe, start = preset.recipe, 0
    with counted(HOPPER) as count, torch.inference_mode():
        states = [each.start(StreamRequest()) for each in told]
        for chunk in range(3):
            frames = recipe.frames_of(start)
            place = ChunkPlace(chunk=chunk, start=start, frames=frames, seed=1)
            for each, state in zip(told, states, strict=True):
                each.asked(state, controls_of(preset.name, chunk))()
                part = each.plan(state, place, None)
                each.inputs(part, place)
            start += frames
    assert count.operations and not count.uploads


def test_a_new_prompt_is_not_waited_for() -> None:
    config = replace(preset_named("longlive").student, num_layers=1)
    contexts = Contexts(empty_student(config).to(torch.bfloat16), 2)
    with counted(HOPPER) as count, torch.inference_mode():
        contexts.of(torch.randn(config.text_len, config.text_dim))
    assert count.operations and not count.uploads
