"""Published models as streams: what their chunks are made of, and that nothing changes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from rollcast.kernels.yuv420.yuv420_torch import yuv420_torch
from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.registry import load_model
from rollcast.models.sampling.chunk_maker import ChunkMaker
from rollcast.models.sampling.denoising import recache
from rollcast.models.sampling.recipe import Recipe
from rollcast.models.staged_model import ChunkPlan, StagedModel, counter_noise
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.wan.latent_scale import published_scale
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.models.wan.presets.start_image import StartImage
from rollcast.models.wan.presets.text_prompt import EXAMPLES, TextPrompt
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.stream.stream_state import WanState
from rollcast.models.yuv_frames import YuvFrames

from ....variants import some_of
from ..conftest import CUT, PROMPTS, SIZE, FolderOf, ModelOf
from ..running import REQUEST, SNAPSHOT_CHUNKS, beside, frames, staged, submitted, through_a_kill

pytestmark = pytest.mark.slow

NAMES = tuple(
    name
    for name, each in presets().items()
    if {kind.kind for kind in each.conditioning} <= {TextPrompt.kind, StartImage.kind}
)
"""All that a prompt alone can steer."""
KINDS = (
    "self-forcing",
    "reward-forcing",
    "longlive",
    "causal-forcing-2-step",
    "sgf-plus",
    "rolling-forcing",
    "longlive-2",
)
"""One of each kind of cache, sampler, switch and first chunk."""
STAGED = ("longlive", "rolling-forcing", "longlive-2")
"""Those that hand on between processes what no other one does."""
LOG = [Controls(prompt=PROMPTS[0] if k == 2 else CUT if k == 5 else None) for k in range(7)]
"""Two switches of the prompt, the second behind the first time that frames leave the window."""


def run(model: WanModel, log: Sequence[Controls], seed: int = 1) -> list[Chunk]:
    state = model.start(StreamRequest(seed=seed))
    return [model.step(state, controls) for controls in log]


def text_of(state: WanState) -> Tensor:
    return state.conditioning.tensors()["text.embeddings"]


@torch.inference_mode()
def published_loop(model: WanModel, log: Sequence[Controls], seed: int = 1) -> Tensor:
    """Latents of the whole stream by the loop that golden cases hold, [1, F, C, h, w]."""
    preset, recipe, calls = model._preset, model._preset.recipe, model._calls
    maker = ChunkMaker(calls.student, recipe, preset.cache, writer_of(model))
    text, state = preset.stated(TextPrompt), model.start(StreamRequest(seed=seed))
    assert text is not None
    channels, pixels = preset.latents.channels, preset.latents.pixels
    latent = (channels, SIZE[1] // pixels, SIZE[0] // pixels)
    shape = (1, recipe.chunk_frames, *latent)
    stream = maker.start(height=latent[1], width=latent[2])
    made = torch.zeros(1, 0, *latent)
    for chunk, controls in enumerate(log):
        plan = model.prepare(state, controls)
        prompt = maker.encode(plan.tensors["text.embeddings"][None])
        held = min(preset.cache.capacity_frames, made.shape[1])
        switched = controls.prompt is not None and chunk > 0
        if text.switch == "recache" and switched and held:
            recache(calls.student, stream.cache, made[:, -held:], prompt.context)
        cuts = text.shot_prefix and controls.prompt and controls.prompt.startswith(text.shot_prefix)
        if switched and cuts:
            stream.cache.begin_shot(text.shot_offset)
        latents = None
        if recipe.sampler == "joint":
            windows = range(len(recipe.steps) if chunk == 0 else 1)
            for window in windows:
                assert latents is None
                renoise = WindowNoise(plan, recipe, window, full=chunk > 0 or window == windows[-1])
                noise = counter_noise(plan, window, shape)
                latents = maker.next(stream, noise, prompt, renoise=renoise)
        else:
            numbers = {
                t: k
                for k, t in enumerate(
                    calls.chunk_steps.calls[k].timestep for k in range(calls.chunk_steps.steps)
                )
            }
            times = recipe.sampler_for(chunk, torch.randn_like).timesteps
            noises = iter([counter_noise(plan, numbers[t], shape) for t in times])
            latents = maker.next(
                stream, next(noises), prompt, renoise=lambda _, noises=noises: next(noises)
            )
        assert latents is not None
        made = torch.cat((made, latents), dim=1)
    return made


def writer_of(model: WanModel) -> CausalStudent | None:
    """The second student of a model that has one."""
    calls = model._calls
    return calls._writer if calls.recipe.clean_expert else None


class WindowNoise:
    """What a joint window's blocks are noised with, each in its place of a whole window."""

    def __init__(self, plan: ChunkPlan, recipe: Recipe, window: int, *, full: bool) -> None:
        self.plan, self.frames, self.number = plan, recipe.chunk_frames, len(recipe.steps)
        self.number *= 1 + window
        self.block = 1 if full else 0

    def __call__(self, window: Tensor) -> Tensor:
        self.number += 1
        first, whole = self.block * self.frames, torch.full_like(window, torch.nan)
        block = whole[:, first : first + self.frames]
        block.copy_(counter_noise(self.plan, self.number, block.shape))
        self.block += 1
        return whole


@pytest.mark.parametrize("name", some_of(NAMES, *KINDS))
def test_a_stream_is_the_published_loop_and_one_pass_of_the_decoder(
    name: str, model_of: ModelOf
) -> None:
    model = model_of(name)
    made = frames(run(model, LOG))
    with torch.inference_mode():
        latents = published_loop(model, LOG)
        whole = model._decoder(published_scale(latents), {})[0]
    wanted = whole.add(1).mul(127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert made.shape == (
        4 * len(LOG) * preset_named(name).recipe.chunk_frames - 3,
        SIZE[1],
        SIZE[0],
        3,
    )
    # a decoder in pieces adds in another order: at an edge between two levels it may differ by one
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert 5 < made.std() < 120, "a picture, not a flat one"


def test_planes_are_those_of_the_frames(model_of: ModelOf) -> None:
    plain = model_of("self-forcing")
    calls, decoder = plain._calls, plain._decoder
    coded = WanModel(plain._preset, calls, decoder, SIZE, yuv=True)
    for rgb, yuv in zip(run(plain, LOG[:3]), run(coded, LOG[:3]), strict=True):
        assert isinstance(yuv.pictures, YuvFrames) and len(yuv.pictures) == len(rgb.frames)
        levels = torch.from_numpy(rgb.frames).permute(0, 3, 1, 2) / 127.5 - 1
        assert np.array_equal(yuv.pictures.planes, yuv420_torch(levels).numpy())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_its_preset_says(name: str, model_of: ModelOf) -> None:
    model, preset = model_of(name), preset_named(name)
    assert isinstance(model, StagedModel)
    assert model.info.inputs.names - {"image"} == {"prompt", "seed"}
    assert (model.info.width, model.info.height, model.info.fps) == (*SIZE, preset.fps)
    assert model.info.chunk_frames == 4 * preset.recipe.chunk_frames
    assert model.info.first_chunk_frames == 4 * preset.recipe.chunk_frames - 3
    assert model.chunk_steps.caches == 1 and model.chunk_steps.most_stages == 2
    times = [call.timestep for call in model.chunk_steps.calls]
    assert times == pytest.approx([*TIMES.get(name, (1000.0, 937.5, 2500 / 3, 625.0)), 0.0])


TIMES: dict[str, tuple[float, ...]] = {
    "rolling-forcing": (1000.0, 952.381, 882.353, 769.2308, 555.5556),
    "longlive-2": (999.0, 937.0, 833.0, 624.0),
}
"""Of those whose steps are not Self-Forcing's."""


def test_a_model_of_two_steps_takes_four_for_its_first_chunk(
    model_of: ModelOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("causal-forcing-2-step")
    calls: list[float] = []
    forward = model._calls.student.forward_rows

    def counted(latents: Tensor, times: Tensor, *rest: object) -> Tensor:
        calls.append(round(float(times[0, 0]), 1))
        return forward(latents, times, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(model._calls.student, "forward_rows", counted)
    run(model, [Controls(), Controls(), Controls(reset=True)])
    first, other = [1000.0, 937.5, 833.3, 625.0, 0.0], [1000.0, 833.3, 0.0]
    assert calls == [*first, *other, *first]


@pytest.mark.parametrize("name", some_of(KINDS, "self-forcing", "rolling-forcing"))
def test_prompt_seed_and_reset_are_obeyed(name: str, model_of: ModelOf) -> None:
    model = model_of(name)
    plain = frames(run(model, [Controls()] * 4))
    assert np.array_equal(frames(run(model, [Controls()] * 4)), plain)
    assert not np.array_equal(frames(run(model, [Controls()] * 4, seed=2)), plain)
    told = run(model, [Controls(), Controls(prompt=PROMPTS[0]), Controls(), Controls()])
    per_chunk = model.info.chunk_frames
    first = model.info.first_chunk_frames or per_chunk
    assert np.array_equal(frames(told)[:first], plain[:first]), "nothing before it changes"
    assert not np.array_equal(told[1].frames, plain[first : first + per_chunk])
    again = run(model, [*[Controls()] * 3, Controls(reset=True), Controls(), Controls()])
    assert np.array_equal(frames(again[3:]), frames(again[:3]))
    seeded = run(model, [Controls(), Controls(seed=2), Controls()])
    other = run(model, [Controls(), Controls()], seed=2)
    assert np.array_equal(frames(seeded[1:]), frames(other))


def test_a_stream_without_a_prompt_shows_the_first_example(model_of: ModelOf) -> None:
    model = model_of("self-forcing")
    plain = model.start(StreamRequest())
    named = model.start(StreamRequest(prompt=EXAMPLES[0]))
    assert plain.conditioning.metadata()["kinds"]["text"]["prompt"] == EXAMPLES[0]
    assert torch.equal(text_of(plain), text_of(named))


def test_only_a_model_that_recaches_writes_its_past_anew(
    model_of: ModelOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: dict[str, int] = {}
    for name in ("longlive", "reward-forcing"):
        model = model_of(name)
        calls: list[int] = []
        forward = model._calls.student.forward

        def counted(
            latents: Tensor,
            *rest: object,
            calls: list[int] = calls,
            forward: object = forward,
            **more: object,
        ) -> Tensor:
            calls.append(latents.shape[1])
            return forward(latents, *rest, **more)  # type: ignore[operator]

        monkeypatch.setattr(model._calls.student, "forward", counted)
        same = Controls(prompt=PROMPTS[0])
        run(model, [Controls(), same, same, *[Controls()] * 3, Controls(prompt=PROMPTS[1])])
        counts[name] = len(calls)
        if name == "longlive":
            assert calls == [3, 12], "all that is held, and not for a prompt that stays"
    assert counts["reward-forcing"] == 0


@pytest.mark.parametrize("name", some_of(KINDS, "reward-forcing", "rolling-forcing", "longlive-2"))
def test_a_restored_stream_goes_on_bit_for_bit(name: str, model_of: ModelOf) -> None:
    """Whether the next chunk is the second one, switches the prompt, or follows a switch."""
    model, other = model_of(name), model_of(name)
    state = model.start(StreamRequest(seed=1))
    snapshots: list[bytes] = []
    undisturbed: list[Chunk] = []
    for controls in LOG:
        undisturbed.append(model.step(state, controls))
        snapshots.append(model.snapshot(state))
    for cut in (1, 5, 6):
        restored = other.restore(snapshots[cut - 1])
        rest = [other.step(restored, controls) for controls in LOG[cut:]]
        assert np.array_equal(frames(rest), frames(undisturbed[cut:]))
        assert [chunk.index for chunk in rest] == list(range(cut, len(LOG)))


def test_a_snapshot_of_another_model_is_refused(model_of: ModelOf) -> None:
    state = model_of("longlive").start(StreamRequest())
    data = model_of("longlive").snapshot(state)
    with pytest.raises(ValueError, match="snapshot of model 'longlive'"):
        model_of("self-forcing").restore(data)


@pytest.mark.parametrize("name", some_of(KINDS[2:], "longlive"))
def test_two_streams_in_a_batch_do_not_see_each_other(name: str, model_of: ModelOf) -> None:
    """Their bits depend on how many rows there are, not on what the other one shows."""
    alone = frames(run(model_of(name), LOG)).astype(int)
    still = beside(model_of(name), LOG, StreamRequest(seed=5), [Controls()] * len(LOG))
    other_log = [Controls(prompt=PROMPTS[2], reset=k == 4) for k in range(len(LOG))]
    switching = beside(model_of(name), LOG, StreamRequest(seed=9), other_log)
    assert np.array_equal(still, switching)
    assert np.abs(still - alone).max() <= 1


def test_sequential_is_the_models_own_step(model_of: ModelOf) -> None:
    executor = Sequential(model_of("longlive"))
    executor.open("a", REQUEST)
    made = submitted(executor, LOG)
    assert np.array_equal(frames(made), frames(run(model_of("longlive"), LOG)))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "stages"),
    [
        (STAGED[0], 2),
        *(pytest.param(name, 2, marks=pytest.mark.long) for name in STAGED[1:]),
        *(pytest.param(k, 1, marks=pytest.mark.long) for k in ("self-forcing", "rolling-forcing")),
        *(pytest.param(k, 2, marks=pytest.mark.long) for k in KINDS[1:] if k not in STAGED),
    ],
)
def test_stages_make_the_same_frames_bit_for_bit(
    name: str, stages: int, folder_of: FolderOf, model_of: ModelOf
) -> None:
    """Two are the most that a model with a clean pass allows: the second one decodes."""
    calls = tuple(range(len(model_of(name).chunk_steps.calls)))
    plan = StagePlan((calls, ()), 1) if stages == 2 else None
    with staged(name, folder_of(name), stages, plan=plan) as pipeline:
        made = submitted(pipeline, LOG)
    assert np.array_equal(frames(made), frames(run(model_of(name), LOG)))


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.parametrize("name", ["rolling-forcing", "longlive", "sgf-plus", "longlive-2"])
def test_a_process_that_is_killed_is_a_pause(
    name: str, folder_of: FolderOf, model_of: ModelOf
) -> None:
    """Behind its first snapshot, of which every stage has a part."""
    chunks = SNAPSHOT_CHUNKS + 3
    texts = (CUT, *PROMPTS[:2])
    log = [Controls(prompt=texts[k % 3] if k % 4 == 1 else None) for k in range(chunks)]
    made = through_a_kill(name, folder_of(name), log)
    assert np.array_equal(frames(made), frames(run(model_of(name), log)))


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (StreamRequest(scene="sea"), "no scene"),
        (StreamRequest(picture=b"x"), "no scene or picture"),
    ],
)
def test_what_it_does_not_take_is_refused(
    request_: StreamRequest, what: str, model_of: ModelOf
) -> None:
    with pytest.raises(ValueError, match=what):
        model_of("self-forcing").start(request_)


@pytest.mark.parametrize("size", [(832, 484), (8, 32), (0, 0)])
def test_a_size_that_does_not_divide_is_named(size: tuple[int, int], folder_of: FolderOf) -> None:
    with pytest.raises(ValueError, match=f"size {size[0]}x{size[1]}.*832x480"):
        load_model("self-forcing", weights=[str(folder_of("self-forcing"))], size=size)
