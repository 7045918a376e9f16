"""The toy world as a model: it follows its controls, and its pictures are of the world."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rollcast.models.contract import Chunk, Controls, Model, StreamRequest
from rollcast.models.registry import load_model
from rollcast.models.sampling.denoising import denoise_chunk
from rollcast.models.staged_model import step_noise
from rollcast.models.toy_world.config import (
    BACKGROUND,
    CHANNELS,
    FRAMES,
    MOODS,
    PALETTES,
    SCHEDULE,
    SINKS,
    SIZE,
    STEPS,
)
from rollcast.models.toy_world.model import SCALE, ToyWorldModel, pictures_of
from rollcast.models.toy_world.network import PromptedStudent
from rollcast.models.toy_world.weights import packed, unpacked
from training.toy_world.metrics.behaviour import legality
from training.toy_world.picture import pack
from training.toy_world.reading import read_moves, read_pictures


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ToyWorldModel:
    """With weights of chance: whatever it shows depends on all that it is told."""
    torch.manual_seed(3)
    network = PromptedStudent()
    torch.nn.init.normal_(network.student.head.head.weight, std=0.2)
    path = tmp_path_factory.mktemp("weights") / "toy-world.safetensors"
    save_file(packed(network.state_dict()), path)
    return ToyWorldModel(path)


def run(model: ToyWorldModel, request: StreamRequest, *controls: Controls) -> list[Chunk]:
    state = model.start(request)
    return [model.step(state, each) for each in controls]


def pixels(chunks: list[Chunk]) -> np.ndarray:
    return np.concatenate([chunk.frames for chunk in chunks])


def test_a_chunk_is_four_pictures_of_the_seed(model: ToyWorldModel) -> None:
    assert isinstance(model, Model)
    assert all(scene.thumbnail for scene in model.info.scenes)
    one, same, other = (
        pixels(run(model, StreamRequest(seed=seed), Controls(), Controls())) for seed in (1, 1, 2)
    )
    assert one.shape == (2 * FRAMES, SIZE * SCALE, SIZE * SCALE, 3)
    assert (one == same).all()
    assert not (one == other).all()


@pytest.mark.parametrize("scene", SINKS)
@torch.inference_mode()
def test_a_stream_is_its_student_sampled_chunk_by_chunk(model: ToyWorldModel, scene: str) -> None:
    """On a cache made for its sink, an average with a shadow."""
    network, shape = model._denoiser._network, (1, 1, CHANNELS, SIZE, SIZE)
    sink = replace(SINKS[scene], precision="shadow")
    cache = network.student.new_cache(sink, height=SIZE, width=SIZE)
    words = torch.tensor([MOODS.index("brisk")]), torch.tensor([PALETTES.index("cold")])
    request = StreamRequest(seed=3, scene=scene, prompt="brisk cold")
    shown, planned = model.start(request), model.start(request)
    for _ in range(7):
        plan = model.prepare(planned, Controls())
        noise = (step_noise(plan, step, shape) for step in itertools.count())
        made = denoise_chunk(
            network.student,
            cache,
            next(noise),
            STEPS,
            network.told(*words),
            schedule=SCHEDULE,
            renoise=lambda _, noise=noise: next(noise),
        )
        assert (model.step(shown, Controls()).frames == pictures_of(made)).all()


def test_a_prompt_is_obeyed_from_the_next_chunk_on(model: ToyWorldModel) -> None:
    request = StreamRequest(seed=1, prompt="a calm sprite, warm")
    plain = run(model, request, Controls(), Controls())
    told = run(model, request, Controls(), Controls(prompt="dizzy cold"))
    assert plain[0].ignored_words == ("a", "sprite") and plain[1].ignored_words == ()
    assert (plain[0].frames == told[0].frames).all()
    assert not (plain[1].frames == told[1].frames).all()


@pytest.mark.slow
def test_each_sink_is_a_scene_that_starts_anew(model: ToyWorldModel) -> None:
    request = StreamRequest(seed=1)
    with pytest.raises(ValueError, match="unknown scene 'moon': choose one of static, none"):
        model.start(StreamRequest(scene="moon"))
    ends = [pixels(run(model, StreamRequest(seed=1, scene=s), *[Controls()] * 6)) for s in SINKS]
    # until the window is full there is nothing that sinks could differ in
    assert all((end[: 4 * FRAMES] == ends[0][: 4 * FRAMES]).all() for end in ends)
    assert all(not (end[-FRAMES:] == ends[0][-FRAMES:]).all() for end in ends[1:])
    switched = run(model, request, Controls(), Controls(scene="none", seed=1))
    assert switched[1].scene == "none"
    assert (switched[1].frames == switched[0].frames).all(), "nothing is left of the past"


def test_a_snapshot_goes_on_as_if_nothing_had_been(model: ToyWorldModel) -> None:
    state = model.start(StreamRequest(seed=4, scene="ema .9", prompt="brisk"))
    for _ in range(5):
        model.step(state, Controls())
    again = model.restore(model.snapshot(state))
    ahead = [model.step(state, Controls()), model.step(state, Controls())]
    assert (pixels([model.step(again, Controls()) for _ in range(2)]) == pixels(ahead)).all()


def test_weights_are_kept_within_half_a_level() -> None:
    weights = {"matrix": torch.randn(5, 3, 2), "bias": torch.randn(5)}
    back = unpacked(packed(weights))
    most = weights["matrix"].flatten(1).abs().amax(1)[:, None, None] / 127
    # half a step, and the scale's own rounding to float16 over at most 127 steps
    assert ((back["matrix"] - weights["matrix"]).abs() <= most * (0.5 + 127 / 2048)).all()
    assert torch.allclose(back["bias"], weights["bias"], rtol=1e-3)


@pytest.mark.slow
def test_the_student_that_ships_shows_one_sprite_on_a_path_of_the_world() -> None:
    model = load_model("toy-world", threads=1)
    assert isinstance(model, ToyWorldModel)
    clips = [
        pixels(run(model, StreamRequest(seed=k, prompt=prompt), *[Controls()] * 12))
        for k, prompt in enumerate(("calm warm", "brisk cold", "dizzy warm", "brisk warm"))
    ]
    small = torch.from_numpy(np.stack(clips)[:, :, ::SCALE, ::SCALE]).permute(0, 1, 4, 2, 3)
    moves = read_moves(read_pictures(pack(small / 127.5 - 1 - BACKGROUND)))
    assert legality(moves)["legal"] >= 0.8
