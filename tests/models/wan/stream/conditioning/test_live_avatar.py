"""Live Avatar as a stream: somebody in a picture speaks, in step with a voice."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rollcast.models.contract import Chunk, Controls, ImageInput, SpeechInput, StreamRequest
from rollcast.models.live_avatar.inputs import encode_sink, speech_tokens
from rollcast.models.live_avatar.live_speech import SpeechListener, SpeechView
from rollcast.models.live_avatar.speech_encoder import load_speech_encoder
from rollcast.models.picture import fitted_pixels
from rollcast.models.pipeline.diagonal import Diagonal
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.measure import measure_parts
from rollcast.models.registry import load_model
from rollcast.models.sampling.denoising import sample_chunk
from rollcast.models.sampling.euler import Euler, EulerSchedule
from rollcast.models.staged_model import Row, counter_noise
from rollcast.models.student.conditioning import Conditions
from rollcast.models.wan.config_file import student_config
from rollcast.models.wan.locate import locate
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.models.wan.presets.latent_space import WAN21
from rollcast.models.wan.presets.speech import ENCODER, Speech
from rollcast.models.wan.stream.first_chunks import meet_every_length
from rollcast.models.wan.stream.live_bytes import LiveBytes
from rollcast.models.wan.stream.memory_plan import MemoryPlan, plan_memory
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.vae_files import VAE_DECODER, VAE_ENCODER

from .....variants import some_of
from ....live_avatar.tiny_speech import babble
from ...conftest import PROMPTS, FolderOf, ModelOf
from ...running import SNAPSHOT_CHUNKS, frames, staged, submitted, through_a_kill

pytestmark = pytest.mark.slow

NAME, THREE = "live-avatar", "live-avatar-3-step"
SIDE = 64
"""Frames of the tiny model: the oldest motion tokens are 64 pixels wide."""
CHUNK = 12 * 640
VOICE = babble(8.0, seed=1)
AHEAD = 3200
"""Samples of its look-ahead."""
AvatarOf = Callable[[str], WanModel]


@pytest.fixture
def avatar_of(model_of: ModelOf) -> AvatarOf:
    """An avatar's tiny model, loaded as `rollcast serve` does."""

    def load(name: str = NAME) -> WanModel:
        return model_of(name, (SIDE, SIDE))

    return load


@cache
def face(seed: int) -> bytes:
    """A picture of coloured squares, larger than the frames and of another shape."""
    colours = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).resize((160, 128), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def spoken(chunks: int, voice: np.ndarray = VOICE, **at: Controls) -> list[Controls]:
    """Controls of chunks that are fed a voice; `at` k3 is what else the fourth is told."""
    log: list[Controls] = []
    begin = 0
    for chunk in range(chunks):
        more = at.get(f"k{chunk}", Controls())
        anew = chunk == 0 or more.reset or more.seed is not None or more.image is not None
        end = begin + CHUNK - 1920 * anew
        log.append(told(more, voice[begin:end]))
        begin = end
    return log


def told(more: Controls, audio: np.ndarray) -> Controls:
    return Controls(
        prompt=more.prompt,
        image=more.image,
        clear_audio=more.clear_audio,
        reset=more.reset,
        seed=more.seed,
        audio=audio,
    )


REQUEST = StreamRequest(seed=1, image=face(0))
LOG = spoken(
    9, k2=Controls(prompt=PROMPTS[0]), k6=Controls(clear_audio=True), k7=Controls(image=face(1))
)
"""A prompt, its own latent as sink at chunk 4, a barge-in, another picture."""


def run(model: WanModel, log: Sequence[Controls], request: StreamRequest = REQUEST) -> list[Chunk]:
    state = model.start(request)
    return [model.step(state, controls) for controls in log]


@pytest.fixture(scope="module")
def wanted(folder_of: FolderOf) -> list[Chunk]:
    """What `LOG` makes of the stream, one chunk after the other in one process."""
    size = (SIDE, SIDE)
    model = load_model(NAME, threads=1, weights=[str(folder_of(NAME))], size=size)
    assert isinstance(model, WanModel)
    return run(model, LOG)


def same(one: Sequence[Chunk], other: Sequence[Chunk]) -> bool:
    """Whether all that viewers see and hear is the same, bit for bit."""
    return len(one) == len(other) and all(
        np.array_equal(a.frames, b.frames)
        and np.array_equal(a.audio, b.audio)
        and (a.index, a.talking) == (b.index, b.talking)
        for a, b in zip(one, other, strict=True)
    )


def test_it_is_what_its_preset_says(avatar_of: AvatarOf) -> None:
    for name, steps in ((NAME, 4), (THREE, 3)):
        model = avatar_of(name)
        inputs = model.info.inputs
        assert inputs.names == {"prompt", "seed", "speech", "image"}
        assert inputs.speech == SpeechInput(16_000, 200)
        assert inputs.image == ImageInput(SIDE, SIDE, required=True)
        assert (model.info.fps, model.info.chunk_frames, model.info.first_chunk_frames) == (
            25, 12, 9,
        )  # fmt: skip
        calls = model.chunk_steps
        assert (calls.caches, calls.steps, calls.most_stages) == (steps, steps, steps + 1)
        recipe = preset_named(name).recipe
        assert [call.timestep for call in calls.calls] == pytest.approx(recipe.steps, abs=1e-3)
    published = (1000.0, 857.6923217773438, 602.1505737304688, 8.928571701049805)
    assert preset_named(NAME).recipe.steps == pytest.approx(published, abs=1e-3)


@torch.inference_mode()
def published_frames(folder_of: FolderOf, model: WanModel, log: Sequence[Controls]) -> np.ndarray:
    """The stream by the loop that the golden case holds, its inputs made here one by one."""
    preset, student = model._preset, model._calls.student
    files, device = locate(preset, [str(folder_of(preset.name))]), torch.device("cpu")
    encoder = VAE_ENCODER.load(files.vae, WAN21, device=device, dtype=torch.float32)
    voice = load_speech_encoder(files.more[ENCODER], device=device, dtype=torch.float32)
    stated = preset.stated(Speech)
    assert stated is not None
    listener = SpeechListener(voice, SpeechView(stated.context, stated.lookahead), 25)
    levels = torch.tensor(fitted_pixels(face(0), SIDE, SIDE)).permute(2, 0, 1).float()
    picture = levels / 127.5 - 1
    reference = encoder.encode(picture[None, None], {})
    motion = encoder.encode(picture.expand(1, 73, -1, -1, -1), {})
    schedule = EulerSchedule.shifted_twice(len(preset.recipe.steps))
    caches = [model.new_cache() for _ in schedule.timesteps]
    state, speech, memory = model.start(REQUEST), listener.begin(3), {}
    model._decoder.decode(motion[:, :7], memory)
    shown: list[np.ndarray] = []
    own = reference
    for chunk, controls in enumerate(log):
        plan = model.prepare(state, controls)
        context = student.encode_text(plan.tensors["text.embeddings"][None])
        heard = listener.listen(speech, controls.audio, 12)
        tokens = speech_tokens(student, heard.features, heard.history)
        if chunk in (0, 4):
            sink = encode_sink(student, reference if chunk == 0 else own, motion, context)
            for cache in caches:
                cache.set_sink(sink)
        noise = counter_noise(plan, 0, (1, 3, 16, SIDE // 8, SIDE // 8))
        conditions = Conditions(speech=tokens)
        latents = sample_chunk(student, caches, noise, Euler(schedule), context, conditions)
        if plan.needed_by is not None:
            assert (chunk, plan.needed_by) == (0, 4)
            own = latents[:, :1]
            state.returns[4] = latents
        made = model._decoder.decode(latents, memory)[0, 3 if chunk == 0 else 0 :]
        levels = made.add(1).mul(127.5).round().clamp(0, 255).permute(0, 2, 3, 1)
        shown.append(levels.numpy().astype(np.uint8))
    return np.concatenate(shown)


@pytest.mark.parametrize("name", some_of([NAME, THREE], NAME))
def test_a_stream_is_the_published_loop(
    name: str, avatar_of: AvatarOf, folder_of: FolderOf
) -> None:
    log = spoken(6, k2=Controls(prompt=PROMPTS[0]))
    model = avatar_of(name)
    wanted = published_frames(folder_of, model, log)
    made = frames(run(model, log))
    assert made.shape == (6 * 12 - 3, SIDE, SIDE, 3)
    # pieces add in another order: at an edge between two levels a value may differ by one
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert made.std() > 5, "a picture, not a flat one"


def test_sound_comes_back_with_the_frames_that_show_it(avatar_of: AvatarOf) -> None:
    made = run(avatar_of(NAME), spoken(6))
    assert [len(chunk.frames) for chunk in made] == [9, 12, 12, 12, 12, 12]
    assert [len(chunk.audio) for chunk in made] == [640 * len(chunk.frames) for chunk in made]
    heard = np.concatenate([chunk.audio for chunk in made])
    fed = np.concatenate([controls.audio for controls in spoken(6)])
    assert not heard[:AHEAD].any()
    assert np.array_equal(heard[AHEAD:], fed[: len(heard) - AHEAD])
    assert made[1].talking
    silent = run(avatar_of(NAME), [Controls()] * 3)
    assert not any(chunk.talking or chunk.audio.any() for chunk in silent)
    # what is said is seen from the chunk on that shows it, which the look-ahead may reach
    same_frames = [np.array_equal(a.frames, b.frames) for a, b in zip(made, silent, strict=False)]
    assert same_frames == [False] * 3


def test_what_comes_late_is_not_seen_before(avatar_of: AvatarOf) -> None:
    """Nothing of a voice is in frames that end more than the look-ahead before it."""
    voice = VOICE.copy()
    voice[: 3 * CHUNK] = 0
    late, silent = run(avatar_of(NAME), spoken(5, voice)), run(avatar_of(NAME), [Controls()] * 5)
    equal = [np.array_equal(a.frames, b.frames) for a, b in zip(late, silent, strict=True)]
    assert equal == [True, True, True, False, False]


def test_barge_in_drops_what_is_not_shown_yet(avatar_of: AvatarOf) -> None:
    log = spoken(6)
    stopped = [*log[:3], Controls(clear_audio=True), Controls(), Controls()]
    made = run(avatar_of(NAME), stopped)
    heard = np.concatenate([chunk.audio for chunk in made])
    said = np.concatenate([controls.audio for controls in log])
    shown = sum(len(chunk.audio) for chunk in made[:3])
    assert np.array_equal(heard[AHEAD:shown], said[: shown - AHEAD])
    assert not heard[shown:].any()
    assert made[2].talking and not any(chunk.talking for chunk in made[3:])
    assert same(made[:3], run(avatar_of(NAME), log[:3]))


def test_a_new_seed_loses_nothing_of_a_voice(avatar_of: AvatarOf) -> None:
    """Whoever feeds does not know that a chunk will be short; what is over is shown behind it."""
    log = [Controls(audio=VOICE[k * CHUNK : (k + 1) * CHUNK]) for k in range(5)]
    log[2] = Controls(audio=log[2].audio, seed=2)
    log += [Controls()] * 3
    model = avatar_of(NAME)
    state, made = model.start(REQUEST), list[Chunk]()
    for controls in log:
        made.append(model.step(state, controls))
        state = model.restore(model.snapshot(state))
    assert [len(chunk.frames) for chunk in made] == [9, 12, 9, 12, 12, 12, 12, 12]
    heard = np.concatenate([chunk.audio for chunk in made])
    assert np.array_equal(heard[AHEAD : AHEAD + 5 * CHUNK], VOICE[: 5 * CHUNK])
    assert not heard[AHEAD + 5 * CHUNK :].any()
    dropped = run(model, [*log[:2], Controls(reset=True), *[Controls()] * 2])
    assert not any(chunk.audio.any() for chunk in dropped[2:])


@pytest.mark.long
def test_prompt_seed_image_and_reset_are_obeyed(avatar_of: AvatarOf) -> None:
    model = avatar_of(NAME)
    plain = run(model, spoken(4))
    assert same(run(model, spoken(4)), plain)
    other_seed = run(model, spoken(4), StreamRequest(seed=2, image=face(0)))
    other_face = run(model, spoken(4), StreamRequest(seed=1, image=face(1)))
    for other in (other_seed, other_face):
        assert not np.array_equal(frames(other), frames(plain))
    said = run(model, spoken(4, k2=Controls(prompt=PROMPTS[1])))
    assert same(said[:2], plain[:2]) and not np.array_equal(said[2].frames, plain[2].frames)
    silent = [Controls()] * 3
    first = run(model, silent)
    again = run(model, [*silent, Controls(reset=True), *silent[1:]])
    assert np.array_equal(frames(again[3:]), frames(first))
    seeded = run(model, [*silent, Controls(seed=2), *silent[1:]])
    request = StreamRequest(seed=2, image=face(0))
    assert np.array_equal(frames(seeded[3:]), frames(run(model, silent, request)))
    changed = run(model, [*silent, Controls(image=face(1)), *silent[1:]])
    request = StreamRequest(seed=1, image=face(1))
    assert np.array_equal(frames(changed[3:]), frames(run(model, silent, request)))


def test_the_sink_becomes_the_streams_own_first_latent(avatar_of: AvatarOf) -> None:
    """From chunk 4 on, as published; before it nothing differs."""
    model, kept = avatar_of(NAME), avatar_of(NAME)
    conditioner = kept._conditioners["reference"]
    plan = conditioner.plan

    def never(state: object, place: object, returned: object) -> object:
        part = plan(state, place, returned)  # type: ignore[arg-type]
        return part if "own" not in part.tensors else type(part)()

    conditioner.plan = never  # type: ignore[method-assign]
    made, wanted = run(model, spoken(6)), run(kept, spoken(6))
    equal = [np.array_equal(a.frames, b.frames) for a, b in zip(made, wanted, strict=True)]
    assert equal == [True] * 4 + [False] * 2


@pytest.mark.long
def test_a_restored_stream_goes_on_bit_for_bit(avatar_of: AvatarOf) -> None:
    """While its own latent is still to come, with its voice half heard, behind another picture."""
    model, other = avatar_of(NAME), avatar_of(NAME)
    state = model.start(REQUEST)
    snapshots: list[bytes] = []
    undisturbed: list[Chunk] = []
    for controls in LOG:
        undisturbed.append(model.step(state, controls))
        snapshots.append(model.snapshot(state))
    for cut in (1, 3, 4, 5, 8):
        restored = other.restore(snapshots[cut - 1])
        rest = [other.step(restored, controls) for controls in LOG[cut:]]
        assert same(rest, undisturbed[cut:])


def test_what_a_stream_keeps_does_not_grow(avatar_of: AvatarOf) -> None:
    model = avatar_of(NAME)
    state = model.start(REQUEST)
    sizes: list[int] = []
    for controls in spoken(16, np.tile(VOICE, 2)):
        model.step(state, controls)
        sizes.append(len(model.snapshot(state)))
    # the context of the voice fills within 400 features, 17 chunks; the rest is there at once
    assert max(sizes) - min(sizes[5:]) <= 400 * 16 * 4 + 100


@pytest.mark.long
def test_noise_levels_in_one_batch_are_the_same_stream(
    avatar_of: AvatarOf, wanted: list[Chunk]
) -> None:
    """The diagonal: a step each of four chunks at once. Sums in another order may differ by one."""
    executor = Diagonal(avatar_of(NAME))
    executor.open("a", REQUEST)
    for controls in LOG:
        executor.submit("a", controls)
    events = [*executor.poll(0.0), *executor.finish()]
    done = [each.chunk for each in events if isinstance(each, Finished)]
    assert len(done) == len(events) == len(LOG)
    assert np.abs(frames(done).astype(int) - frames(wanted)).max() <= 1
    assert all(np.array_equal(a.audio, b.audio) for a, b in zip(done, wanted, strict=True))


@pytest.mark.long
@pytest.mark.processes
# five part all that can be parted; fewer have parts together, and what they hand on is the same
@pytest.mark.parametrize("stages", [1, 2, 3, 4, 5])
def test_stages_make_the_same_stream_bit_for_bit(
    stages: int, folder_of: FolderOf, wanted: list[Chunk]
) -> None:
    """Five: a process for each step, and one that decodes."""
    with staged(NAME, folder_of(NAME), stages, REQUEST, size=(SIDE, SIDE)) as pipeline:
        made = submitted(pipeline, LOG)
    assert same(made, wanted)


@pytest.mark.long
@pytest.mark.processes
def test_a_process_that_is_killed_is_a_pause(folder_of: FolderOf, avatar_of: AvatarOf) -> None:
    """Behind its first snapshot, of which every stage has a part."""
    chunks = SNAPSHOT_CHUNKS + 3
    log = spoken(chunks, np.tile(VOICE, 1 + chunks * CHUNK // len(VOICE)))
    how = {"stages": 5, "killed": 2, "size": (SIDE, SIDE)}
    made = through_a_kill(NAME, folder_of(NAME), log, REQUEST, **how)
    assert same(made, run(avatar_of(NAME), log))


def test_what_it_cannot_do_without_is_told(avatar_of: AvatarOf) -> None:
    model = avatar_of(NAME)
    with pytest.raises(ValueError, match="live-avatar needs an image to start from"):
        model.start(StreamRequest())
    with pytest.raises(ValueError, match="no picture that can be read"):
        model.start(StreamRequest(image=b"none"))
    state = model.start(REQUEST)
    model.step(state, Controls(audio=VOICE[:CHUNK]))
    before = model.snapshot(state)
    with pytest.raises(ValueError, match="at most 15360 may"):
        # the prompt could be obeyed, and is read first
        model.prepare(state, Controls(prompt=PROMPTS[1], audio=VOICE[: 2 * CHUNK + 1]))
    with pytest.raises(ValueError, match="no picture that can be read"):
        model.prepare(state, Controls(prompt=PROMPTS[1], image=b"none", clear_audio=True))
    assert model.snapshot(state) == before
    with pytest.raises(ValueError, match="size 64x32: live-avatar needs at least 64 pixels a side"):
        plan_memory(preset_named(NAME), size=(64, 32))


def test_every_avatar_is_tested_here() -> None:
    avatars = [name for name, each in presets().items() if each.student.avatar is not None]
    assert avatars == [NAME, THREE]


@pytest.mark.long
def test_a_plan_of_memory_is_what_lives_at_once(weighed_folder_of: FolderOf) -> None:
    """Within 5%, loaded and making chunks for two streams in turn; four caches each."""
    folder, size = weighed_folder_of(NAME), (128, 96)
    live = LiveBytes()
    with live:
        model = load_model(NAME, threads=1, weights=[str(folder)], size=size, sessions=2)
        states = [model.start(StreamRequest(seed=k, image=face(k))) for k in range(2)]
        for controls in spoken(6, k4=Controls(prompt=PROMPTS[0])):
            for state in states:
                model.step(state, controls)
    assert live.peak == pytest.approx(planned(folder, size).total(2), rel=0.05)


def planned(folder: Path, size: tuple[int, int]) -> MemoryPlan:
    preset = preset_named(NAME)
    files = locate(preset, [str(folder)])
    return plan_memory(
        preset,
        student=student_config(preset, files.config),
        decoder=VAE_DECODER.config_in(files.vae, preset.latents),
        size=size,
        dtype=torch.float32,
        reserve=0,
        files=files,
    )


@pytest.mark.long
def test_a_stage_needs_room_for_one_cache(weighed_folder_of: FolderOf) -> None:
    """Within 5% of the plan for five: what the first does at its start, and one on a stream."""
    folder, size = weighed_folder_of(NAME), (64, 64)
    plan = planned(folder, size)
    live = LiveBytes()
    with live:
        model = load_model(NAME, threads=1, weights=[str(folder)], size=size)
        assert isinstance(model, WanModel)
        assert len(measure_parts(model).step_s) == 4
        meet_every_length(model, preset_named(NAME))
    # notes of the past keep sound and its tokens of four chunks, and the motion frames, as well:
    # much of a student this small, too little of any other to plan for
    notes = 19 * 16 * 8 * 8 * 4 + 4 * (7680 * 2 + 2880)
    assert live.peak == pytest.approx(plan.total(1, 5) + notes, rel=0.05)
    with live:
        state = model.start(REQUEST)
        before = live.now
        model.denoise([Row(model.prepare(state, Controls()), 0, None, state.caches[0])])
        one = live.now - before
    assert one < 1.5 * plan.cache / plan.caches
    assert plan.total(1, 5) < plan.total(1) - 2 * plan.cache / plan.caches


def test_the_full_size_plan() -> None:
    """At 704x384 in bfloat16: four caches of 12 frames, each with a sink of 2640 tokens.

    Of the sink's keys there are two, before RoPE and behind it; latents are noted.
    """
    plan = plan_memory(preset_named(NAME))
    window, sink = 12 * 1056, 2640
    latents = 12 * 16 * 88 * 48
    assert plan.cache == 4 * ((2 * window + 3 * sink) * 40 * 5120 + latents) * 2
    assert plan.student == 2 * 16_295_755_609
    voice, pictures = 315_437_696, 53_586_592
    assert plan.conditioning == pytest.approx(2 * (voice + pictures), rel=0.01)
    assert 45e9 < plan.total(1, 5) < 60e9, "what the authors need of a GPU for each step"
    assert plan.total(1, 5) == plan.total(1) - plan.cache + plan.cache // 4
    assert plan.total(1, 3) == plan.total(1) - plan.cache + plan.cache // 2
