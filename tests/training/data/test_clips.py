"""Rendered clips: shapes, determinism, and labels that agree with the pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from training.data.clips import KEYS, Arrays, is_valid, portrait, render_clip, save_clip, scene
from training.data.plan import PRESETS, Job, plan

JOBS = {job.name: job for job in plan(PRESETS["smoke"])}
PICTURES = [job for job in JOBS.values() if job.kind != "audio"]
T = PRESETS["smoke"].frames


def _by_name(job: Job) -> str:
    return job.name


@pytest.mark.parametrize("job", PICTURES, ids=_by_name)
def test_shapes_and_types(smoke_clips: dict[str, Arrays], job: Job) -> None:
    clip = smoke_clips[job.name]
    expected = {
        "frames": ((T, 192, 192, 3), np.uint8),
        "flow": ((T, 2, 16, 16), np.float16),
        "fine": ((T, 96, 96, 2), np.float16),
        "fine_ok": ((T, 96, 96), np.bool_),
        "visemes": ((T, 16), np.float32),
        "pose": ((T, 5), np.float32),
        "boxes": ((T, 3, 2), np.float32),
        "lip_gap": ((T,), np.float32),
        "level": ((T,), np.float32),
        "audio": ((T * 640,), np.int16),
        "tracks": ((T, 12, 2), np.float32),
        "track_vis": ((T, 12), np.bool_),
        "track_ref": ((12, 2), np.float32),
    }
    for key, (shape, kind) in expected.items():
        assert (clip[key].shape, clip[key].dtype) == (shape, kind), key
    assert set(KEYS[job.kind]) <= set(clip)


@pytest.mark.parametrize("name", ["train_kofi-news_00", "train_toys_00", "train_audio_00"])
def test_the_same_seed_gives_the_same_bits(smoke_clips: dict[str, Arrays], name: str) -> None:
    again = render_clip(JOBS[name])
    for key, values in smoke_clips[name].items():
        assert np.array_equal(again[key], values), key


def _warp(reference: np.ndarray, flow: np.ndarray) -> np.ndarray:
    fine = flow.astype(np.float32).repeat(2, 0).repeat(2, 1)
    rows, cols = np.mgrid[:192, :192]
    at = [rows + fine[..., 1], cols + fine[..., 0]]
    return np.stack(
        [map_coordinates(reference[..., c], at, order=1, mode="nearest") for c in range(3)], -1
    )


@pytest.mark.parametrize("job", PICTURES, ids=_by_name)
def test_flow_carries_the_reference_to_the_frame(
    smoke_clips: dict[str, Arrays], smoke_folder: Path, job: Job
) -> None:
    clip = smoke_clips[job.name]
    picture = Image.open(smoke_folder / f"reference/{job.look}.png").resize(
        (192, 192), Image.Resampling.BOX
    )
    reference = np.asarray(picture, np.float32)
    warped, still = [], []
    for t in range(0, T, 5):
        moving = np.abs(clip["fine"][t]).max(-1) > 1
        known = (clip["fine_ok"][t] & moving).repeat(2, 0).repeat(2, 1)
        if known.any():
            frame = clip["frames"][t].astype(np.float32)
            warped.append(np.abs(_warp(reference, clip["fine"][t]) - frame)[known].mean())
            still.append(np.abs(reference - frame)[known].mean())
    assert warped, "nothing moves in this clip"
    assert np.mean(warped) < 0.6 * np.mean(still)


@pytest.mark.parametrize("job", PICTURES, ids=_by_name)
def test_tracks_agree_with_flow(smoke_clips: dict[str, Arrays], job: Job) -> None:
    clip = smoke_clips[job.name]
    errors = []
    for t in range(0, T, 3):
        for k in np.nonzero(clip["track_vis"][t])[0]:
            x, y = clip["tracks"][t, k]
            cell = int(y // 2), int(x // 2)
            if clip["fine_ok"][t][cell]:
                here = clip["tracks"][t, k] + clip["fine"][t][cell]
                errors.append(np.abs(here - clip["track_ref"][k]).max())
    assert len(errors) > 20
    # A cell is 2 px wide and the mean over it can lie beside the point.
    assert np.median(errors) < 0.8


@pytest.mark.usefixtures("render_tools")
def test_reference_has_no_motion() -> None:
    rest = portrait("mei-gallery").render({}, np.zeros(5, np.float32))
    large = portrait("mei-gallery").reference_image().astype(float)
    small = large.reshape(192, 2, 192, 2, 3).mean((1, 3))
    assert np.abs(rest.pixels - small).max() <= 1
    assert np.abs(rest.fine).max() < 1e-3 and np.abs(rest.flow).max() < 1e-3
    toys = scene("toys")
    still = toys.render(toys.home, np.zeros(4, np.float32))
    assert np.abs(still.fine).max() < 1e-3 and still.track_vis.all()


@pytest.mark.usefixtures("render_tools")
def test_the_second_picture_shows_what_the_first_hides() -> None:
    head = portrait("mei-gallery")
    shown = head.render({"jawOpen": 0.62, "eyeBlinkLeft": 1, "eyeBlinkRight": 1}, np.zeros(5))
    pictures = [
        picture.astype(float).reshape(192, 2, 192, 2, 3).mean((1, 3))
        for picture in (head.reference_image(), head.open_image())
    ]
    for x, y in shown.boxes.astype(int):  # mouth, eyes
        part = slice(y - 8, y + 14), slice(x - 12, x + 13)
        closed, opened = (np.abs(shown.pixels[part] - p[part]).mean() for p in pictures)
        assert opened < 0.7 * closed


@pytest.mark.usefixtures("render_tools")
def test_lip_gap_follows_the_jaw_and_lips_close() -> None:
    head = portrait("kofi-news")
    pose = np.zeros(5, np.float32)
    gaps = [head.render({"jawOpen": w}, pose).lip_gap for w in (0.0, 0.4, 0.8)]
    assert gaps[0] == 0 and gaps[0] < gaps[1] < gaps[2]


def test_splits_have_their_own_voices_and_words(smoke_clips: dict[str, Arrays]) -> None:
    voices, said = {"train": set(), "test": set()}, {"train": set(), "test": set()}
    for name, clip in smoke_clips.items():
        if "voice" in clip:
            split = "train" if name.startswith("train_") else "test"
            # a face that speaks another language does it in a voice that is known as well
            known = split == "test" and bool(clip.get("known_voice", False))
            voices["train" if known else split] |= set(clip["voice"].tolist())
            said[split] |= set(" ".join(clip["text"].tolist()).split())
    assert voices["train"] and voices["test"] and not voices["train"] & voices["test"]
    assert said["train"] and said["test"] and not said["train"] & said["test"]


def test_unfinished_or_foreign_files_are_not_valid(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    assert not is_valid(path, "audio")
    path.write_bytes(b"PK\x03\x04 cut off")
    assert not is_valid(path, "audio")
    save_clip(path, {"audio": np.zeros(4), "visemes": np.zeros(4), "version": np.array(-1)})
    assert not is_valid(path, "audio")
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_bench_hears_is_said_with_a_neutral_face(smoke_clips: dict[str, Arrays]) -> None:
    said = [clip for name, clip in smoke_clips.items() if name.startswith("said_")]
    assert said
    for clip in said:
        assert int(clip["expression"]) == 0 and not clip["level"].any() and clip["lip_gap"].any()
