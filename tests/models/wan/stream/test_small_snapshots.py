"""A published model's stream goes on from the latents that its caches hold, much as it would have.

What the first layer keeps of a frame follows from its latents alone, so there caches are the same.
In deeper ones it was made with a longer past.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from rollcast.models import picture
from rollcast.models.contract import Controls, StreamRequest, TrackEvent
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.events import Event, Finished, Restarted
from rollcast.models.wan.stream.stream_state import WanState

from ..conftest import CUT, PROMPTS, FolderOf, ModelOf
from ..running import frames, staged, submitted
from .test_live_video import told

pytestmark = pytest.mark.slow

SAVED, CHUNKS, KILLED = 7, 8, 11
NEAR_LEVELS = 1.5
"""Root of the mean square; from chunk to chunk the pictures of random weights change by 30."""
NEAR = 0.2
"""In the deeper layer, of its largest value."""
PROMPTED = [
    Controls(prompt=PROMPTS[0] if k == 2 else CUT if k == 4 else None) for k in range(KILLED + 2)
]
"""Two switches of the prompt, the second in the window that is saved."""
DRAGGED = [
    Controls(tracks=(TrackEvent(1, "down" if k == 0 else "move", k / 20, 0.5),))
    for k in range(CHUNKS)
]


@pytest.fixture(scope="session")
def folder_of(weighed_folder_of: FolderOf) -> FolderOf:
    """The levels are those of the larger VAE's pictures: a smaller one's have more contrast."""
    return weighed_folder_of


def held(state: WanState, cache: int) -> list[int]:
    """The frames in a cache, oldest first."""
    return [each.frame for each in state.caches[cache]._ring.held]


def kept(state: WanState, cache: int, layer: int) -> dict[str, Tensor]:
    """Keys and values [1, H, frames, tokens, D] of a layer, oldest frame first."""
    slots, at = list(state.caches[cache].slots_in_time), state.caches[cache].layers[layer]
    key, value = at.key[:, :, at.sink_tokens :], at.value[:, :, at.sink_tokens :]
    tokens = (-1, at.tokens_per_frame)
    return {
        "key": key.unflatten(2, tokens)[:, :, slots],
        "value": value.unflatten(2, tokens)[:, :, slots],
    }


@pytest.mark.parametrize(
    ("name", "log"),
    [
        pytest.param("reward-forcing", PROMPTED, id="an EMA sink, which begins again"),
        pytest.param("track-v0", DRAGGED, id="a given picture", marks=pytest.mark.long),
        pytest.param(
            "longlive", PROMPTED, id="written anew under a prompt", marks=pytest.mark.long
        ),
        pytest.param("longlive-2", PROMPTED, id="pinned frames", marks=pytest.mark.long),
        pytest.param("rolling-forcing", PROMPTED, id="a joint window", marks=pytest.mark.long),
        pytest.param("sgf-plus", PROMPTED, id="an expert", marks=pytest.mark.long),
        pytest.param(
            "causal-forcing-2-step", PROMPTED, id="single latents", marks=pytest.mark.long
        ),
    ],
)
def test_a_stream_goes_on_from_clean_latents(
    name: str, log: list[Controls], model_of: ModelOf
) -> None:
    model = model_of(name)
    image = picture.sample(128) if name == "track-v0" else None
    state = model.start(StreamRequest(seed=1, image=image))
    for controls in log[:SAVED]:
        model.step(state, controls)
    small = model.small_snapshot(state)
    assert len(small) < len(model.snapshot(state)) / 2
    again = model.restore(small)
    same_past(again, state, from_frame=3 if name == "reward-forcing" else 0)
    for controls in log[SAVED:CHUNKS]:
        wanted, made = model.step(state, controls).frames, model.step(again, controls).frames
        assert rms(made, wanted) < NEAR_LEVELS


def same_past(again: WanState, state: WanState, from_frame: int = 0) -> None:
    for cache in range(len(state.caches)):
        assert held(again, cache) == held(state, cache)
        assert again.caches[cache].position == state.caches[cache].position
        for layer, most in enumerate((1e-4, NEAR)):
            mine, theirs = kept(again, cache, layer), kept(state, cache, layer)
            for each in theirs:
                apart = (mine[each] - theirs[each])[:, :, from_frame:].abs().max()
                assert apart <= most * theirs[each].abs().max(), (layer, each)


def rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.long
def test_caches_of_steps_are_filled_by_what_each_step_saw(model_of: ModelOf) -> None:
    model = model_of("stream-diffusion-v2")
    log = told([4] * CHUNKS)
    state = model.start(StreamRequest(seed=1))
    for controls in log[:SAVED]:
        model.step(state, controls)
    again = model.restore(model.small_snapshot(state))
    assert len(state.caches) > 1
    for controls in log[SAVED:]:
        wanted, made = model.step(state, controls).frames, model.step(again, controls).frames
        assert rms(made, wanted) < 2 * NEAR_LEVELS


def test_a_whole_snapshot_leaves_no_past_for_a_small_one(model_of: ModelOf) -> None:
    model = model_of("reward-forcing")
    state = model.start(StreamRequest(seed=1))
    model.step(state, Controls())
    again = model.restore(model.snapshot(state))
    assert model.small_snapshot(again) == model.snapshot(again)
    model.restore(model.small_snapshot(again))


@pytest.mark.long
@pytest.mark.processes
def test_caches_too_large_to_be_saved_are_a_pause_and_look_the_same(
    folder_of: FolderOf, model_of: ModelOf
) -> None:
    folder: Path = folder_of("self-forcing")
    model, log = model_of("self-forcing"), PROMPTED
    state = model.start(StreamRequest(seed=1))
    wanted = [model.step(state, controls) for controls in log]
    more = {"backoff": Backoff(first_s=0.1), "snapshot_chunks": 4, "most_exact_bytes": 0}
    with staged("self-forcing", folder, 2, **more) as pipeline:
        made = submitted(pipeline, log[:KILLED])
        while pipeline._logs["a"].settled != 7:
            assert not pipeline.poll(0.1), "parts of the snapshot alone are under way"
        os.kill(pipeline.pids[0], signal.SIGKILL)
        events: list[Event] = []
        for controls in log[KILLED:]:
            pipeline.submit("a", controls)
        while sum(isinstance(each, Finished) for each in events) < len(log) - KILLED:
            events += pipeline.poll(1.0)
    assert np.array_equal(frames(made), frames(wanted[:KILLED]))
    (restarted,) = [each for each in events if isinstance(each, Restarted)]
    assert not restarted.exact
    later = [each.chunk for each in events if isinstance(each, Finished)]
    for one, other in zip(later, wanted[KILLED:], strict=True):
        assert rms(one.frames, other.frames) < 2 * NEAR_LEVELS
