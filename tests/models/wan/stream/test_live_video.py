"""StreamDiffusionV2 as a stream: video in, video out, whoever makes its chunks and when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rollcast.models.contract import Chunk, Controls, StreamRequest, VideoInput
from rollcast.models.parity.published import wan_shape, weights_of
from rollcast.models.parity.stream_diffusion import stream_diffusion_cache, stream_diffusion_recipe
from rollcast.models.pipeline.diagonal import Diagonal
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.sampling.flow_schedule import FlowSchedule
from rollcast.models.staged_model import ChunkPlan, Row, counter_noise
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import StudentConfig
from rollcast.models.student.student_cache import StudentCache
from rollcast.models.wan.encoder import WanEncoder
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.live_video import LiveVideo
from rollcast.models.wan.stream import row_calls
from rollcast.models.wan.stream.conditioning.conditioner import ChunkPlace, Parts, PlanPart
from rollcast.models.wan.stream.conditioning.kinds import conditioners
from rollcast.models.wan.stream.memory_plan import plan_memory
from rollcast.models.wan.stream.model import WanModel, rgb_levels
from rollcast.models.wan.stream.plan_parts import place_of, planned
from rollcast.models.wan.stream.row_calls import RowCalls
from rollcast.models.wan.video_frames import noise_share, spread
from rollcast.models.wan.weights import load_weights

from ....tiny_checkpoints import DECODER, tiny_config, tiny_vae_encoder
from ..conftest import PROMPTS, SIZE, FolderOf, ModelOf
from ..running import SNAPSHOT_CHUNKS, frames, staged, submitted, through_a_kill

pytestmark = pytest.mark.slow

NAME = "stream-diffusion-v2"
WIDTH, HEIGHT = SIZE


def camera(frames: int, seed: int = 0) -> np.ndarray:
    """A bright square [T, H, W, 3] that moves over noise."""
    random = np.random.default_rng(seed)
    video = random.integers(0, 80, (frames, HEIGHT, WIDTH, 3), np.uint8)
    for frame in range(frames):
        left = (3 * frame + 11 * seed) % (WIDTH - 12)
        video[frame, 8:20, left : left + 12] = (250, 60 * seed % 255, 30)
    return video


VIDEO = camera(200)
COUNTS = (5, 4, 4, 3, 0, 9, 4, 1, 4, 4, 6, 4)
"""Frames that come with each chunk: as many as it has, fewer, none, more."""


def told(counts: Sequence[int], **others: Controls) -> list[Controls]:
    """A camera's controls; `others` by the chunk's number, as `_3`."""
    log: list[Controls] = []
    seen = 0
    for chunk, count in enumerate(counts):
        given = others.get(f"_{chunk}", Controls())
        log.append(replace(given, video=VIDEO[seen : seen + count]))
        seen += count
    return log


LOG = told(COUNTS, _6=Controls(prompt=PROMPTS[0]))
"""A switch of the prompt with its chunk, which starts anew."""


def run(model: WanModel, log: Sequence[Controls], seed: int = 1) -> list[Chunk]:
    state = model.start(StreamRequest(seed=seed))
    return [model.step(state, controls) for controls in log]


def test_it_is_what_its_preset_says(model_of: ModelOf) -> None:
    model = model_of(NAME)
    assert model.info.inputs.names == {"prompt", "seed", "video"}
    assert model.info.inputs.video == VideoInput(WIDTH, HEIGHT, 16)
    assert (model.info.chunk_frames, model.info.first_chunk_frames) == (4, 5)
    assert [call.timestep for call in model.chunk_steps.calls] == [700.0, 500.0]
    assert model.chunk_steps.caches == 2 and model.chunk_steps.most_stages == 3


class Stream:
    """The published stream written out, a row of its batch after the other.

    One cache makes the first chunk and is copied for every row.
    """

    def __init__(self, model: WanModel) -> None:
        self.student: CausalStudent = model._calls.student
        self.schedule, self.steps = FlowSchedule(8.0), (700.0, 500.0)
        self.caches: list[StudentCache] = [model.new_cache() for _ in self.steps]
        self.encoder: WanEncoder = tiny_vae_encoder()
        self.memory: dict[str, Tensor] = {}
        self.last: Tensor | None = None
        self.share = 0.8

    def noised(self, plan: ChunkPlan, came: np.ndarray) -> tuple[Tensor, float]:
        """What a chunk's first step sees, and what it is told of time."""
        count = 4 if self.last is not None else 5
        video = torch.from_numpy(spread(came, count)).float() / 127.5 - 1
        told = 700.0
        if self.last is not None:
            self.share = noise_share(torch.cat((self.last, video)), self.share, 0.8)
            told = int(1000 * self.share) - 100.0
        self.last = video[-1:]
        latents = self.encoder(video.permute(0, 3, 1, 2)[None], self.memory)
        noise = counter_noise(plan, 0, latents.shape)
        return noise * self.share + latents * (1 - self.share), told

    def call(self, plan: ChunkPlan, x: Tensor, time: float, cache: StudentCache) -> Tensor:
        context = self.student.encode_text(plan.tensors["text.embeddings"][None])
        velocity = self.student(x, torch.full((1, x.shape[1]), time), context, cache)
        return self.schedule.to_sample(velocity, x, time, "velocity")

    def renoised(self, plan: ChunkPlan, clean: Tensor) -> Tensor:
        return self.schedule.add_noise(clean, counter_noise(plan, 1, clean.shape), 500.0)

    def first(self, plan: ChunkPlan, came: np.ndarray) -> Tensor:
        x, time = self.noised(plan, came)
        clean = self.call(plan, x, time, self.caches[0])
        clean = self.call(plan, self.renoised(plan, clean), 500.0, self.caches[0])
        self.caches[0].advance(2)
        whole = {name: tensor.clone() for name, tensor in self.caches[0].tensors().items()}
        self.caches[1].load(whole, self.caches[0].metadata())
        return clean

    def next(self, plan: ChunkPlan, came: np.ndarray) -> Tensor:
        x, time = self.noised(plan, came)
        clean = self.call(plan, x, time, self.caches[0])
        self.caches[0].advance(1)
        clean = self.call(plan, self.renoised(plan, clean), 500.0, self.caches[1])
        self.caches[1].advance(1)
        return clean


@torch.inference_mode()
def test_a_stream_is_the_published_one_and_one_pass_of_the_decoder(model_of: ModelOf) -> None:
    """Sixty chunks: places go back once, scenes change."""
    model = model_of(NAME)
    log = told([5] + [4] * 40)
    log += [Controls(video=camera(4, seed=1 + k // 3)) for k in range(19)]
    made = frames(run(model, log))
    plain, state = Stream(model), model.start(StreamRequest(seed=1))
    latents: list[Tensor] = []
    for chunk, controls in enumerate(log):
        plan = model.prepare(state, controls)
        make = plain.next if chunk else plain.first
        latents.append(make(plan, controls.video))
    whole = rgb_levels(model._decoder.decode(torch.cat(latents, dim=1), {})[0]).numpy()
    assert made.shape == whole.shape == (5 + 4 * 59, HEIGHT, WIDTH, 3)
    # a decoder in pieces adds in another order: at an edge between two levels it may differ by one
    assert np.abs(made.astype(int) - whole).max() <= 1
    assert 5 < made.std() < 120, "a picture, not a flat one"
    assert all(cache.metadata()["rope_offset"] == -45 for cache in plain.caches)


def golden(fixtures: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The case with the settings of the preset."""
    folder = fixtures / "golden"
    case = json.loads((folder / "stream_diffusion_v2_tiny.json").read_text())
    return case, load_file(folder / case["weights"]) | load_file(folder / case["tensors"])


@pytest.mark.parametrize("name", [NAME, f"{NAME}-14b"])
def test_the_preset_has_the_settings_of_its_case(name: str, fixtures: Path) -> None:
    case, preset = golden(fixtures)[0], preset_named(name)
    video = preset.stated(LiveVideo)
    assert preset.recipe == stream_diffusion_recipe(case)
    assert preset.cache == stream_diffusion_cache(case)
    assert video is not None and video.noise == case["noise_scale"]


@torch.inference_mode()
def test_served_calls_make_the_latents_of_its_case(
    fixtures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the frames' latents, their noise and its share as they were recorded."""
    case, tensors = golden(fixtures)
    preset, expected = preset_named(NAME), tensors["out/latents"]
    config = StudentConfig(**wan_shape(case["config"], patch="patch_size"))
    student = CausalStudent(config).eval()
    load_weights(student, weights_of(tensors))
    parts = Parts(
        preset=preset,
        student=config,
        network=student,
        size=preset.size,
        device=torch.device("meta"),
        dtype=torch.float32,
    )
    calls = RowCalls(preset, student, conditioners(parts), tuple(case["latent_hw"]), kept=1)

    def recorded(plan: ChunkPlan, number: int, shape: Sequence[int], *where: object) -> Tensor:
        del where
        drawn = tensors["in/noise" if number == 0 else f"in/renoise/{number - 1}"]
        start = place_of(plan).start
        return drawn[:, start : start + shape[1]]

    monkeypatch.setattr(row_calls, "counter_noise", recorded)
    caches, made = [calls.new_cache() for _ in calls.chunk_steps.calls], list[Tensor]()
    for chunk, span in enumerate(preset.recipe.chunks(expected.shape[1])):
        place = ChunkPlace(chunk=chunk, start=span.start, frames=span.stop - span.start, seed=0)
        noise = {
            "share": float(tensors["out/shares"][chunk]),
            "timestep": float(tensors["out/told"][chunk]),
        }
        told = {
            "text": PlanPart(
                {"embeddings": tensors["in/prompt_embeds"][0]},
                {"recaches": False, "opens_shot": False},
            ),
            "video": PlanPart({"latents": tensors["in/latents"][:, span]}, noise),
        }
        plan = planned(chunk, 0, restart=chunk == 0, place=place, parts=told)
        latents: Tensor | None = None
        for call, cache in enumerate(caches):
            (latents,) = calls.denoise([Row(plan, call, latents, cache)])
        assert latents is not None
        made.append(latents)
    assert float((torch.cat(made, dim=1) - expected).abs().max()) <= 1e-5


def test_video_prompt_seed_and_reset_are_obeyed(model_of: ModelOf) -> None:
    model = model_of(NAME)
    log = told((5, 4, 4, 4, 4))
    plain = frames(run(model, log))
    assert np.array_equal(frames(run(model, log)), plain)
    assert not np.array_equal(frames(run(model, log, seed=2)), plain)
    other = [*log[:3], Controls(video=camera(4, seed=3)), log[4]]
    changed = frames(run(model, other))
    # the other frames are seen from their own chunk on
    assert np.array_equal(changed[:13], plain[:13])
    assert not np.array_equal(changed[13:17], plain[13:17])


def test_a_new_prompt_starts_anew_as_published(model_of: ModelOf) -> None:
    """What is shown behind it is what a stream shows that begins with it."""
    model = model_of(NAME)
    log = told((5, 4, 4, 5, 4), _3=Controls(prompt=PROMPTS[0]))
    made = run(model, log)
    state = model.start(StreamRequest(seed=1, prompt=PROMPTS[0]))
    fresh = [model.step(state, controls) for controls in (replace(log[3], prompt=None), log[4])]
    assert [len(chunk.frames) for chunk in made] == [5, 4, 4, 5, 4]
    assert np.array_equal(frames(made[3:]), frames(fresh))
    same = told((5, 4, 4), _1=Controls(prompt=PROMPTS[0]), _2=Controls(prompt=PROMPTS[0]))
    assert [len(chunk.frames) for chunk in run(model, same)] == [5, 5, 4], "once is enough"


def test_frames_are_spread_and_the_last_one_stands_still(model_of: ModelOf) -> None:
    model = model_of(NAME)
    fewer = run(model, [Controls(video=VIDEO[:5]), Controls(video=VIDEO[5:7]), Controls()])
    as_if = [VIDEO[:5], VIDEO[[5, 5, 6, 6]], VIDEO[[6, 6, 6, 6]]]
    assert np.array_equal(frames(fewer), frames(run(model, [Controls(video=v) for v in as_if])))
    more = run(model, [Controls(video=VIDEO[:10]), Controls(video=VIDEO[10:18])])
    as_if = [VIDEO[1:10:2], VIDEO[11:18:2]]
    assert np.array_equal(frames(more), frames(run(model, [Controls(video=v) for v in as_if])))


def test_a_stream_without_video_redraws_grey_until_it_comes(model_of: ModelOf) -> None:
    model = model_of(NAME)
    grey = np.full((5, HEIGHT, WIDTH, 3), 128, np.uint8)
    waiting = run(model, [Controls(), Controls(), Controls(video=VIDEO[:5]), Controls()])
    assert np.array_equal(frames(waiting[:1]), frames(run(model, [Controls(video=grey)])))
    assert [len(chunk.frames) for chunk in waiting] == [5, 4, 5, 4]
    assert np.array_equal(
        frames(waiting[2:]), frames(run(model, [Controls(video=VIDEO[:5]), Controls()]))
    )


@pytest.mark.parametrize(
    "video",
    [
        np.zeros((4, HEIGHT, WIDTH, 3), np.float32),
        np.zeros((4, HEIGHT, WIDTH + 8, 3), np.uint8),
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
    ],
)
def test_other_frames_are_refused_and_change_nothing(video: np.ndarray, model_of: ModelOf) -> None:
    model = model_of(NAME)
    state = model.start(StreamRequest(seed=1))
    model.step(state, Controls(video=VIDEO[:5]))
    with pytest.raises(ValueError, match=rf"video is .* expected uint8 \[T, {HEIGHT}, {WIDTH}, 3]"):
        model.step(state, Controls(video=video))
    after = model.step(state, Controls(video=VIDEO[5:9]))
    undisturbed = run(model, [Controls(video=VIDEO[:5]), Controls(video=VIDEO[5:9])])
    assert np.array_equal(after.frames, undisturbed[1].frames)


def test_a_restored_stream_goes_on_bit_for_bit(model_of: ModelOf) -> None:
    model, other = model_of(NAME), model_of(NAME)
    state = model.start(StreamRequest(seed=1))
    snapshots: list[bytes] = []
    undisturbed: list[Chunk] = []
    for controls in LOG:
        undisturbed.append(model.step(state, controls))
        snapshots.append(model.snapshot(state))
    for cut in (1, 4, 5, 6, 7, 11):
        restored = other.restore(snapshots[cut - 1])
        rest = [other.step(restored, controls) for controls in LOG[cut:]]
        assert np.array_equal(frames(rest), frames(undisturbed[cut:]))


def test_its_steps_run_as_one_batch(model_of: ModelOf) -> None:
    """The published stream batch: a chunk's first step beside the second one of that before."""
    executor, done = Diagonal(model_of(NAME)), list[Chunk]()
    executor.open("a", StreamRequest(seed=1))
    for controls in LOG:
        executor.submit("a", controls)
        done += [each.chunk for each in executor.poll(0.0) if isinstance(each, Finished)]
    assert len(done) == len(LOG) - 1, "a tick later"
    done += [each.chunk for each in executor.finish() if isinstance(each, Finished)]
    alone = frames(run(model_of(NAME), LOG)).astype(int)
    # products of a batch are summed in another order
    assert np.abs(frames(done) - alone).max() <= 1
    again = Diagonal(model_of(NAME))
    again.open("a", StreamRequest(seed=1))
    for controls in LOG:
        again.submit("a", controls)
    events = [*again.poll(0.0), *again.finish()]
    repeated = [each.chunk for each in events if isinstance(each, Finished)]
    assert np.array_equal(frames(repeated), frames(done))


def test_sequential_is_the_models_own_step(model_of: ModelOf) -> None:
    executor = Sequential(model_of(NAME))
    executor.open("a", StreamRequest(seed=1))
    assert np.array_equal(frames(submitted(executor, LOG)), frames(run(model_of(NAME), LOG)))


PLANS = {2: StagePlan(((0,), (1,)), 1), 3: StagePlan(((0,), (1,), ()), 2)}


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.parametrize("stages", [2, 3])
def test_stages_make_the_same_frames_bit_for_bit(
    stages: int, folder_of: FolderOf, model_of: ModelOf
) -> None:
    """Three are the most: a step each, and the decoder."""
    with staged(NAME, folder_of(NAME), stages, plan=PLANS[stages]) as pipeline:
        made = submitted(pipeline, LOG)
    assert np.array_equal(frames(made), frames(run(model_of(NAME), LOG)))


@pytest.mark.long
@pytest.mark.processes
def test_a_process_that_is_killed_is_a_pause(folder_of: FolderOf, model_of: ModelOf) -> None:
    """Behind its first snapshot, of which every stage has a part."""
    chunks = SNAPSHOT_CHUNKS + 3
    log = told([4] * chunks, _5=Controls(prompt=PROMPTS[1]))
    made = through_a_kill(NAME, folder_of(NAME), log)
    assert np.array_equal(frames(made), frames(run(model_of(NAME), log)))


@pytest.mark.long
def test_its_memory_does_not_grow(model_of: ModelOf) -> None:
    model = model_of(NAME)
    state = model.start(StreamRequest(seed=1))
    sizes: list[int] = []
    for chunk in range(120):
        model.step(state, Controls(video=VIDEO[chunk : chunk + 4]))
        if chunk in (10, 119):
            sizes.append(len(model.snapshot(state)))
    # numbers in the header get longer
    assert abs(sizes[1] - sizes[0]) < 100


def test_its_encoder_is_in_the_plan_of_memory() -> None:
    preset = preset_named(NAME)
    plan = plan_memory(
        preset, student=tiny_config(preset), decoder=DECODER, size=SIZE, dtype=torch.float32
    )
    weights = sum(4 * weight.numel() for weight in WanEncoder().parameters())
    assert plan.conditioning == weights
    assert plan.conditioning_state > 0


def test_noise_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"noise 0\.0"):
        LiveVideo(noise=0.0)
