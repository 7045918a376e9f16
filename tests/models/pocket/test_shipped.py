"""The model in the repository, by what a viewer sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rollcast.models.contract import Controls, StreamRequest, TrackEvent
from rollcast.models.pocket.audio import CHUNK_SAMPLES
from rollcast.models.pocket.autoencoder import FRAME_SIZE
from rollcast.models.pocket.model import ASSETS, PocketModel

from ...variants import some_of

pytestmark = pytest.mark.slow

MAX_BYTES = 40_000_000
# rows and columns of the frame around every avatar's mouth
MOUTH = (slice(117, 165), slice(66, 126))
AVATARS = (
    "freya-studio",
    "kofi-news",
    "mei-gallery",
    "oscar-library",
    "amara-office",
    "ravi-stage",
    "grace-kitchen",
    "jun-harbour",
)


@pytest.fixture(scope="module")
def shipped() -> PocketModel:
    return PocketModel()


def _vowels(chunks: int) -> np.ndarray:
    """A buzz through the formants of an open vowel, on for every other four chunks."""
    rng = np.random.default_rng(0)
    t = np.arange(chunks * CHUNK_SAMPLES) / 16_000
    pitch = 120 + 10 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    voice = np.zeros_like(t)
    for harmonic in range(1, 40):
        hertz = 120 * harmonic
        gain = sum(np.exp(-(((hertz - f) / 120) ** 2)) for f in (730, 1090, 2440)) + 0.03
        voice += gain / harmonic**0.5 * np.sin(harmonic * phase)
    on = (np.arange(chunks).repeat(CHUNK_SAMPLES) // 4) % 2 == 0
    syllables = np.clip(np.sin(2 * np.pi * 3.2 * t), 0, 1)
    sound = 6000 * voice / np.abs(voice).max() * syllables * on
    return (sound + 4 * rng.standard_normal(len(t))).astype(np.int16)


def _frames(model: PocketModel, scene: str, audio: np.ndarray) -> np.ndarray:
    state = model.start(StreamRequest(seed=1, scene=scene))
    pieces = audio.reshape(-1, CHUNK_SAMPLES)
    return np.concatenate([model.step(state, Controls(audio=p)).frames for p in pieces])


def test_assets_stay_small_and_have_a_card() -> None:
    files = [p for p in ASSETS.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < MAX_BYTES
    card = (ASSETS / "MODEL_CARD.md").read_text(encoding="utf-8")
    for heading in ("Data", "Recipe", "Measured", "Limits", "Licence"):
        assert f"## {heading}" in card


@pytest.mark.parametrize(
    "scene",
    # one network draws them all; what is one's own, its look, changes with the weights alone
    some_of(AVATARS, AVATARS[0]),
)
def test_every_mouth_moves_with_speech_and_rests_in_silence(
    shipped: PocketModel, scene: str
) -> None:
    chunks = 16
    frames = _frames(shipped, scene, _vowels(chunks)).astype(float)
    still = _frames(shipped, scene, np.zeros(chunks * CHUNK_SAMPLES, np.int16)).astype(float)
    # the same seed moves the head alike in both, so the difference is the speech
    moved = np.abs(frames - still)[:, MOUTH[0], MOUTH[1]].mean((1, 2, 3))
    chunk_of_frame = np.arange(len(moved)) // 4 - 1  # shown one chunk after it was heard
    speaking = (chunk_of_frame >= 0) & (chunk_of_frame // 4 % 2 == 0)
    silent = (chunk_of_frame % 4 >= 2) & (chunk_of_frame // 4 % 2 == 1)
    assert moved[speaking].mean() > 3 * moved[silent].mean()
    assert moved[speaking].max() > 4


@pytest.mark.parametrize(
    ("scene", "thing"),
    [
        *[("toys", 3), ("sea", 2)],
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (("space", 0), ("toys", 1), ("sea", 3))
        ),
    ],
)
def test_a_dragged_thing_goes_where_the_finger_goes(
    shipped: PocketModel, scene: str, thing: int
) -> None:
    entry = next(look for look in shipped.looks if look.name == scene)
    home = np.array(entry.objects[thing].home)
    goal = np.array([96.0, 93.0])
    state = shipped.start(StreamRequest(seed=1, scene=scene))
    before = shipped.step(state, Controls()).frames[-1]
    x, y = home.astype(int)
    template = _tensor(before)[:, y - 13 : y + 14, x - 13 : x + 14]
    press = TrackEvent(1, "down", home[0] / FRAME_SIZE, home[1] / FRAME_SIZE)
    move = TrackEvent(1, "move", goal[0] / FRAME_SIZE, goal[1] / FRAME_SIZE)
    chunk = shipped.step(state, Controls(tracks=(press, move)))
    for _ in range(9):
        chunk = shipped.step(state, Controls())
    found = _find(_tensor(chunk.frames[-1]), template)
    assert np.hypot(*(found - goal)) < 0.06 * FRAME_SIZE
    assert np.hypot(*(_find(_tensor(before), template) - home)) < 3


def _tensor(frame: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1).float() / 127.5 - 1


def _find(frame: torch.Tensor, template: torch.Tensor) -> np.ndarray:
    """Centre (x, y) of the best match by squared difference."""
    energy = F.conv2d(frame[None].square(), torch.ones_like(template)[None])
    score = (energy - 2 * F.conv2d(frame[None], template[None]))[0, 0]
    row, column = divmod(int(score.argmin()), score.shape[1])
    return np.array([column + 13, row + 13], float)


def test_a_dragged_head_turns_with_the_finger(shipped: PocketModel) -> None:
    def dragged(dx: float) -> np.ndarray:
        state = shipped.start(StreamRequest(seed=1, scene="freya-studio"))
        events = (TrackEvent(1, "down", 0.5, 0.5), TrackEvent(1, "move", 0.5 + dx, 0.5))
        shipped.step(state, Controls(tracks=events))
        for _ in range(8):
            chunk = shipped.step(state, Controls())
        return chunk.frames[-1, 75:150].astype(float).mean(2)

    left, right = dragged(-0.06), dragged(0.06)
    misfit = {
        d: np.abs(left[:, 45 - d : 147 - d] - right[:, 45:147]).mean() for d in range(-22, 23)
    }
    shift = min(misfit, key=lambda d: misfit[d])
    # the finger moved 23 px in all, the face as a whole turns about half of that
    assert 6 <= shift <= 23


@pytest.mark.parametrize(
    ("prompt", "scene"),
    [
        ("an old man with glasses", "oscar-library"),
        ("a woman with curly hair and a purple jacket", "amara-office"),
        ("a blonde woman in red", "freya-evening"),
        ("a man at the news desk", "kofi-news"),
        ("fish in the sea", "sea"),
        ("toys on a table", "toys"),
        ("a rocket in space", "space"),
        ("an old woman with silver hair", "grace-kitchen"),
    ],
)
def test_prompts_change_the_person_and_the_scene(
    shipped: PocketModel, prompt: str, scene: str
) -> None:
    state = shipped.start(StreamRequest(seed=2, scene="mei-gallery"))
    before = shipped.step(state, Controls()).frames[-1].astype(float)
    chunk = shipped.step(state, Controls(prompt=prompt))
    assert chunk.scene == scene
    assert not chunk.ignored_words
    assert np.abs(chunk.frames[-1] - before).mean() > 10


def test_every_preset_is_understood(shipped: PocketModel) -> None:
    assert shipped.info.inputs.prompt is not None
    for prompt in shipped.info.inputs.prompt.examples:
        chunk = shipped.step(shipped.start(StreamRequest(seed=0)), Controls(prompt=prompt))
        assert not chunk.ignored_words, prompt


@pytest.mark.parametrize("chunks", [18, pytest.param(120, marks=pytest.mark.long)])
def test_a_stream_does_not_drift(shipped: PocketModel, chunks: int) -> None:
    state = shipped.start(StreamRequest(seed=3, scene="amara-sunset"))
    colours = [shipped.step(state, Controls()).frames.mean((0, 1, 2)) for _ in range(chunks)]
    third = chunks // 3
    early, late = np.mean(colours[:third], 0), np.mean(colours[-third:], 0)
    assert np.abs(early - late).max() < 2


def test_folder_is_found_where_the_package_is() -> None:
    assert Path(ASSETS, "manifest.json").is_file()
