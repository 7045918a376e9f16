"""Each measure moves as it should when frames or sound are spoilt; the report has its keys."""

import wave
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageSequence
from safetensors import safe_open
from torch import Tensor

from rollcast.benchmarks.quality import clip as quality_clip
from rollcast.benchmarks.quality import quality
from rollcast.benchmarks.quality.control import Drags, Prompts
from rollcast.benchmarks.quality.human import follows, openness, say_recordings
from rollcast.benchmarks.quality.length import Length
from rollcast.benchmarks.quality.quality import measure
from rollcast.benchmarks.quality.speech import Speech
from rollcast.benchmarks.webp import LARGEST_BYTES
from rollcast.models.pocket.evaluation.evaluation_set import (
    EXPRESSION_FRAMES,
    SET,
    QualitySet,
    compress,
    expand,
)
from rollcast.models.pocket.evaluation.signals import (
    agreement,
    best_lag,
    close_times_ms,
    find,
    motion,
    patch,
    sharpness,
    to_signed,
)
from rollcast.models.pocket.evaluation.watch import Watch
from rollcast.models.pocket.model import PocketModel

KEYS = (
    "lip_sync lip_sync_worst lip_sync_by_language lip_sync_wrong_audio lip_lag_frames "
    "mouth_amplitude silence_close_ms_p95 sharpness mouth_sharpness identity_slope identity_margin "
    "track_error_width track_start_chunks_p95 prompt_accuracy dynamics_ratio human_lip_sync "
    "rtf_p95 measures"
).split()


@pytest.fixture(scope="module")
def reference() -> QualitySet:
    return QualitySet.read()


def picture(name: str) -> Tensor:
    with Image.open(SET.parent / "looks" / f"{name}.webp") as image:
        return to_signed(np.asarray(image.convert("RGB")).copy())[None]


def test_speech_survives_packing() -> None:
    samples = np.random.default_rng(0).normal(0, 4000, 5000).clip(-32768, 32767).astype(np.int16)
    back = expand(compress(samples)).astype(float)
    assert np.square(back - samples).mean() < 1e-3 * np.square(samples.astype(float)).mean()
    assert not expand(compress(np.zeros(9, np.int16))).any()


def test_blur_lowers_sharpness(reference: QualitySet) -> None:
    still = picture(reference.looks[0].name)
    blurred = F.avg_pool2d(still, 3, 1, 1)
    for real, soft in zip(sharpness(still), sharpness(blurred), strict=True):
        assert soft < 0.5 * real


def test_frozen_frames_do_not_move() -> None:
    frames = torch.rand(5, 3, 16, 16)
    assert motion(frames[:1].expand(5, -1, -1, -1)) == 0
    assert motion(frames) > 0.1


@pytest.mark.parametrize("late", [-2, 0, 3])
def test_shifted_lips_are_seen_as_late(late: int) -> None:
    truth = torch.randn(80).cumsum(0)
    assert best_lag([(truth.roll(late), truth)]) == late


def test_agreement_of_a_still_mouth_is_nothing() -> None:
    assert agreement(torch.ones(9), torch.arange(9.0)) == 0
    assert agreement(torch.arange(9.0), 3 * torch.arange(9.0)) == pytest.approx(1)


def said(own: Tensor, mouths: list[Tensor]) -> Speech:
    """Six clips that pause, all at once, and then speak: `mouths` are read of `own` truths."""
    speaking = torch.arange(60) >= 20
    pairs = [(m * speaking, t * speaking) for m, t in zip(mouths, own, strict=True)]
    return Speech(pairs=pairs, speaking=[speaking] * len(pairs))


def test_wrong_audio_is_nothing_for_lips_and_much_for_a_mouth_that_just_moves() -> None:
    torch.manual_seed(1)
    own = 1 + torch.rand(6, 60)
    right = said(own, list(own + 0.1 * torch.rand(6, 60)))
    assert agreement(right.pairs[0][1], right.pairs[1][1]) > 0.5, "pauses agree in all of them"
    wrong = right.wrong_audio()
    assert wrong is not None and abs(wrong) < 0.1
    alike = own[:1] + 0.5 * torch.rand(6, 60)
    same = said(alike, list(own[:1].expand(6, -1))).wrong_audio()
    assert same is not None and same > 0.5
    assert Speech().wrong_audio() is None


@pytest.mark.slow
def test_streams_side_by_side_are_the_streams_alone(reference: QualitySet) -> None:
    watch = Watch(PocketModel())
    names = [look.name for look in reference.looks][-2:]
    speech = (3000 * np.random.default_rng(0).standard_normal(16_000)).astype(np.int16)
    made = dict(watch.side_by_side(names, [speech, speech[:0]], 4, lambda k: k in (0, 3)))
    assert sorted(made) == [0, 3]
    for place, audio in enumerate((speech, speech[:0])):
        alone = list(watch.chunks(names[place], audio, 4, seed=place))
        for k, chunks in made.items():
            apart = np.abs(chunks[place].frames.astype(int) - alone[k].frames)
            # sums of a batch are in another order: a level at most, and seldom
            assert apart.max() <= 3 and apart.mean() < 0.05


def test_a_mouth_that_stays_open_is_counted_with_the_whole_pause() -> None:
    level = np.array([1000.0] * 10 + [0.0] * 12 + [1000.0] * 5)
    closing = torch.tensor([1.0] * 12 + [0.0] * 15)
    assert close_times_ms(closing, level, 0.5, 25) == [80]
    assert close_times_ms(torch.ones(27), level, 0.5, 25) == [480]
    assert close_times_ms(torch.ones(27), np.zeros(27), 0.5, 25) == []
    assert close_times_ms(torch.zeros(27), level, 0.5, 25) == [], "it was not open before"


def test_a_moved_thing_is_found() -> None:
    torch.manual_seed(0)
    frame = torch.rand(3, 64, 64)
    template = patch(frame, (0.5, 0.5), 0.1)
    moved = frame.roll((5, -9), (1, 2))
    x, y = find(moved, template)
    assert (x * 64, y * 64) == (32 - 9, 32 + 5)


def test_openness_is_the_voice_and_neither_hum_nor_hiss() -> None:
    time_s = np.arange(2 * 16_000) / 16_000
    loud = (time_s % 0.8 < 0.4).astype(np.float32)
    voice = 6000 * loud * np.sin(2 * np.pi * 900 * time_s)
    hum = 9000 * np.sin(2 * np.pi * 120 * time_s)
    hiss = 3000 * (1 - loud) * np.sin(2 * np.pi * 6000 * time_s)
    shape = openness((voice + hum + hiss).astype(np.int16), 25)
    assert len(shape) == 50
    spoken = torch.from_numpy(loud.reshape(50, 640)[:, 320] > 0)
    assert shape[spoken].min() > 15 and shape[~spoken].median() < 5
    # lips that open a frame before the voice agree best
    early = torch.roll(shape, -1)
    assert follows(early, shape) == pytest.approx(1, abs=1e-5)
    assert follows(shape, shape) < 0.95


def test_networks_read_held_out_frames(reference: QualitySet) -> None:
    assert reference.measures["mouth_gap"] > 0.9
    assert reference.measures["look"] > 0.98
    assert reference.measures["lag_of_two_frames_reads"] == 2


def test_expressions_are_read_from_held_out_frames(reference: QualitySet) -> None:
    assert reference.measures["expression_when_shown"] > 0.9


def test_one_blink_does_not_change_the_expression_that_frames_show(
    reference: QualitySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = torch.zeros(EXPRESSION_FRAMES, len(reference.expressions))
    scores[:, 2], scores[3:5, 5] = 1.0, 3.0
    monkeypatch.setattr(reference.moods, "forward", lambda frames: scores)
    frames = torch.zeros(EXPRESSION_FRAMES, 3, 192, 192)
    assert reference.expression(frames) == 2


def test_a_set_is_read_as_it_was_saved(reference: QualitySet, tmp_path: Path) -> None:
    reference.save(tmp_path / SET.name)
    with safe_open(SET, "pt") as one, safe_open(tmp_path / SET.name, "pt") as other:
        assert one.keys() == other.keys()
        for key in one.keys():  # noqa: SIM118
            assert one.get_tensor(key).equal(other.get_tensor(key)), key
    again = QualitySet.read(tmp_path / SET.name)
    assert (again.looks, again.measures) == (reference.looks, reference.measures)
    frames = picture(reference.looks[0].name)
    assert again.moods(frames).equal(reference.moods(frames))


def test_every_picture_is_recognised(reference: QualitySet) -> None:
    for k, look in enumerate(reference.looks):
        assert int(reference.faces(picture(look.name)).argmax()) == k, look.name


def test_expressions_that_cannot_be_read_are_left_out(
    reference: QualitySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = SimpleNamespace(rtf_p95=lambda: 0.5)
    made = {
        "Watch": watch,
        "measure_speech": Speech(),
        "measure_languages": {},
        "measure_length": Length(),
        "measure_drags": Drags(),
        "measure_prompts": Prompts([1.0], [0.0]),
    }
    for name, result in made.items():
        monkeypatch.setattr(quality, name, lambda *_, result=result: result)
    info = SimpleNamespace(width=reference.size, fps=25, name="none")
    model = cast("PocketModel", SimpleNamespace(info=info))
    for read, expected in ((0.5, 1.0), (0.95, 0.5)):
        known = replace(reference, measures={"expression_when_shown": read})
        report = measure(model, known, minutes=0)
        assert report["prompt_accuracy"] == expected
        assert ("prompt_accuracy" in report["details"]["notes"]) == (read < 0.9)


@pytest.mark.long
def test_recordings_are_said_and_shown(reference: QualitySet, tmp_path: Path) -> None:
    one, other = reference.rows(["mei-stripes", "ravi-stage"])
    for k, seconds in enumerate((2.2, 0.5, 2.4)):
        samples = expand(compress(reference.clips[k].audio))[: round(16_000 * seconds)]
        with wave.open(str(tmp_path / f"{k}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
    said = list(say_recordings(Watch(PocketModel()), reference, [one, other], tmp_path))
    assert [item.look for item in said] == [reference.looks[k].name for k in (one, other)]
    assert all(item.agreement > 0.3 for item in said)
    assert [len(item.frames) for item in said] == [55, 60], "the short one is left out"
    path = tmp_path / "clip.webp"
    assert quality_clip.write_clip(said, path) == path.stat().st_size <= LARGEST_BYTES
    with Image.open(path) as clip:
        assert clip.size[0] == 2 * 192 and clip.size[1] > 192
        assert sum(1 for _ in ImageSequence.Iterator(clip)) > 25


@pytest.mark.long
def test_report_of_the_embedded_model(reference: QualitySet) -> None:
    one = [look.name for look in reference.looks if look.is_avatar][:1]
    small = QualitySet(
        reference.size,
        reference.looks,
        reference.expressions,
        reference.clips[:1],
        reference.mouth,
        reference.faces,
        reference.moods,
        reference.measures,
    )
    report = measure(PocketModel(), small, minutes=0, names=one)
    assert set(KEYS) | {"details"} == set(report)
    assert report["sharpness"]["s60"] is None and 0.1 < report["sharpness"]["s1"] < 2
    assert report["lip_sync"] > 0.4
    parts = [report["details"][f"prompt_{what}"] for what in ("attributes", "expressions")]
    assert report["prompt_accuracy"] == pytest.approx(sum(parts) / 2)
    missed = len(report["details"]["prompt_expressions_missed"])
    assert missed == pytest.approx((1 - parts[1]) * (len(reference.expressions) - 1))
    assert "prompt_accuracy" not in report["details"]["notes"]


def test_a_look_that_nobody_knows_is_told(reference: QualitySet) -> None:
    with pytest.raises(ValueError, match="unknown look"):
        measure(PocketModel(), reference, minutes=0, names=["nobody"])
