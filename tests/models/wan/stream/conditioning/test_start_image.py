"""Streams that start from an image: what is shown, what changes it, and that nothing is lost."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rollcast.models.contract import Chunk, Controls, ImageInput, StreamRequest
from rollcast.models.picture import fitted_pixels
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.sampling.chunk_maker import ChunkMaker
from rollcast.models.staged_model import counter_noise
from rollcast.models.wan.config_file import student_config
from rollcast.models.wan.loading import empty_student
from rollcast.models.wan.locate import locate
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.models.wan.presets.start_image import StartImage
from rollcast.models.wan.stream.conditioning.conditioner import Parts
from rollcast.models.wan.stream.conditioning.start_image import StartImageConditioner
from rollcast.models.wan.stream.live_bytes import LiveBytes
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.stream.plan_parts import place_of

from .....variants import some_of
from ...conftest import PROMPTS, SIZE, FolderOf, ModelOf
from ...running import frames, staged, submitted

pytestmark = pytest.mark.slow

NAMES = tuple(name for name, each in presets().items() if each.stated(StartImage) is not None)
KINDS = ("causal-forcing-framewise", "sgf-plus", "longlive-2")
"""One of each way to start: a latent before the first chunk, a chunk of them, and within it."""
LOG = [Controls(prompt=PROMPTS[0] if k == 2 else None) for k in range(4)]


def file(seed: int, kind: str = "PNG", width: int = 160, height: int = 96) -> bytes:
    """An image of coloured squares."""
    colours = np.random.default_rng(seed).integers(0, 255, (3, 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).resize((width, height), Image.Resampling.NEAREST).save(buffer, kind)
    return buffer.getvalue()


def run(
    model: WanModel, log: Sequence[Controls], image: bytes | None, seed: int = 1
) -> list[Chunk]:
    state = model.start(StreamRequest(seed=seed, image=image))
    return [model.step(state, controls) for controls in log]


def stated(name: str) -> StartImage:
    found = preset_named(name).stated(StartImage)
    assert found is not None
    return found


@torch.inference_mode()
def published_latents(model: WanModel, image: bytes, log: Sequence[Controls]) -> Tensor:
    """Latents of the whole stream by the loop that golden cases hold, [1, F, C, h, w]."""
    preset, recipe, calls = model._preset, model._preset.recipe, model._calls
    how = stated(preset.name)
    conditioner = model._conditioners["start_image"]
    assert isinstance(conditioner, StartImageConditioner)
    encoder = conditioner._picture._encoder
    levels = torch.tensor(fitted_pixels(image, *SIZE)).permute(2, 0, 1).float()
    clip = (levels / 127.5 - 1).expand(1, 4 * how.latents - 3, -1, -1, -1)
    start = encoder.encode(clip, {})
    expert = calls._writer if recipe.clean_expert else None
    maker = ChunkMaker(calls.student, recipe, preset.cache, expert)
    state = model.start(StreamRequest(seed=1, image=image))
    stream = maker.start(height=start.shape[3], width=start.shape[4])
    times = [call.timestep for call in calls.chunk_steps.calls]
    made = start if how.place == "before" else start[:, :0]
    for chunk, controls in enumerate(log):
        plan = model.prepare(state, controls)
        prompt = maker.encode(plan.tensors["text.embeddings"][None])
        if chunk == 0 and how.place == "before":
            maker.give(stream, start, prompt)
        shape = (1, recipe.chunk_frames, *start.shape[2:])
        numbers = [times.index(t) for t in recipe.sampler_for(chunk, torch.randn_like).timesteps]
        noises = iter([counter_noise(plan, number, shape) for number in numbers])
        latents = maker.next(
            stream,
            next(noises),
            prompt,
            renoise=lambda _, noises=noises: next(noises),
            held=start if chunk == 0 and how.place == "within" else None,
        )
        assert latents is not None
        made = torch.cat((made, latents), dim=1)
    return made


@pytest.mark.parametrize("name", some_of(NAMES, *KINDS))
def test_a_stream_is_the_published_loop_behind_its_image(name: str, model_of: ModelOf) -> None:
    model, image = model_of(name), file(1)
    made = frames(run(model, LOG, image))
    with torch.inference_mode():
        latents = published_latents(model, image, LOG)
        whole = model._decoder.decode(latents, {})[0]
    wanted = whole.add(1).mul(127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    preset = preset_named(name)
    before = stated(name).latents if stated(name).place == "before" else 0
    assert made.shape[0] == 4 * (before + len(LOG) * preset.recipe.chunk_frames) - 3
    # a decoder in pieces adds in another order: at an edge between two levels it may differ by one
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert not np.array_equal(made, frames(run(model, LOG, file(2))))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_that_it_takes_an_image_and_needs_none(name: str, model_of: ModelOf) -> None:
    model = model_of(name)
    assert model.info.inputs.image == ImageInput(*SIZE, required=False)
    assert len(run(model, LOG[:1], None)[0].frames) == model.info.first_chunk_frames


@pytest.mark.parametrize(("name", "before"), [*zip(KINDS, (1, 3, 0), strict=True)])
def test_latents_before_the_first_chunk_count(name: str, before: int, model_of: ModelOf) -> None:
    model = model_of(name)
    state = model.start(StreamRequest(image=file(1)))
    frames_of = preset_named(name).recipe.chunk_frames
    starts = [place_of(model.prepare(state, Controls())).start for _ in range(3)]
    assert starts == [before + k * frames_of for k in range(3)]


def test_only_families_whose_way_is_published_take_one() -> None:
    assert set(NAMES) == {
        "causal-forcing-framewise",
        "causal-forcing-1-step",
        "causal-forcing-2-step",
        "longlive-2",
        "sgf-plus",
        "sgf-plus-framewise",
    }
    # a latent stands for 4 frames: the image is shown in 1 + 4 (3 - 1) of them, and fills a chunk
    assert stated("sgf-plus").latents == preset_named("sgf-plus").recipe.chunk_frames == 3


@pytest.mark.parametrize("name", some_of(KINDS, "sgf-plus"))
def test_another_image_starts_anew_and_a_reset_keeps_it(name: str, model_of: ModelOf) -> None:
    model = model_of(name)
    first, second = file(1), file(2, "JPEG")
    log = [Controls(), Controls(), Controls(image=second), Controls(), Controls(reset=True)]
    made = run(model, [*log, Controls()], first)
    for start, image in ((0, first), (2, second), (4, second)):
        alone = run(model, [Controls(), Controls()], image)
        assert np.array_equal(frames(made[start : start + 2]), frames(alone))
    late = run(model, [Controls(), Controls(image=first), Controls()], None)
    assert np.array_equal(frames(late[1:]), frames(made[:2]))


@pytest.mark.parametrize("name", some_of(KINDS, "sgf-plus"))
def test_a_restored_stream_goes_on_bit_for_bit(name: str, model_of: ModelOf) -> None:
    """Before its first chunk, behind it, and where it will start anew from its image."""
    model, other = model_of(name), model_of(name)
    log = [*LOG, Controls(reset=True), Controls()]
    state = model.start(StreamRequest(seed=1, image=file(1)))
    snapshots = [model.snapshot(state)]
    undisturbed: list[Chunk] = []
    for controls in log:
        undisturbed.append(model.step(state, controls))
        snapshots.append(model.snapshot(state))
    for cut in (0, 1, 4):
        restored = other.restore(snapshots[cut])
        rest = [other.step(restored, controls) for controls in log[cut:]]
        assert np.array_equal(frames(rest), frames(undisturbed[cut:]))


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.parametrize("name", KINDS)
def test_stages_make_the_same_frames_bit_for_bit(
    name: str, folder_of: FolderOf, model_of: ModelOf
) -> None:
    calls = tuple(range(len(model_of(name).chunk_steps.calls)))
    plan = StagePlan((calls, ()), 1)
    log = [*LOG[:3], Controls(image=file(2))]
    request = StreamRequest(seed=1, image=file(1))
    with staged(name, folder_of(name), 2, request, plan=plan) as pipeline:
        made = submitted(pipeline, log)
    assert np.array_equal(frames(made), frames(run(model_of(name), log, file(1))))


@pytest.mark.parametrize("name", KINDS)
def test_encoding_takes_as_much_memory_as_is_rehearsed(
    name: str, weighed_folder_of: FolderOf
) -> None:
    """On `meta` for the plan, and really, but for the image as it was read."""
    preset = preset_named(name)
    files = locate(preset, [str(weighed_folder_of(name))])
    student = student_config(preset, files.config)
    lived: list[int] = []
    for device in ("meta", "cpu"):
        parts = Parts(
            preset=preset,
            student=student,
            network=empty_student(student),
            size=SIZE,
            device=torch.device(device),
            dtype=torch.float32,
            files=files,
        )
        conditioner = StartImageConditioner(stated(name), parts)
        live = LiveBytes(conditioner.weights())
        with live, torch.inference_mode():
            if device == "cpu":
                conditioner.start(StreamRequest(image=file(1)))
            else:
                conditioner.rehearse(None)  # type: ignore[arg-type]
        lived.append(live.peak)
    assert lived[1] == pytest.approx(lived[0], rel=0.05)


def test_what_cannot_be_read_is_refused(model_of: ModelOf) -> None:
    model = model_of("sgf-plus")
    with pytest.raises(ValueError, match="no picture that can be read"):
        model.start(StreamRequest(image=b"GIF89a"))
    state = model.start(StreamRequest(image=file(1)))
    with pytest.raises(ValueError, match="Send one with at least 64 a side"):
        model.step(state, Controls(image=file(1, width=40)))
    with pytest.raises(ValueError, match="no image"):
        model_of("self-forcing").start(StreamRequest(image=file(1)))
