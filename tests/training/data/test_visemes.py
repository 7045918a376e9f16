"""Mouth shapes from phonemes: closure, rest and naming of both synthesizers' sounds."""

import numpy as np
import pytest

from training.data.visemes import CHANNELS, SHAPES, Phoneme, shapes_of, viseme_track

JAW = CHANNELS.index("jawOpen")


def test_there_are_sixteen_channels_and_every_shape_fits() -> None:
    assert len(CHANNELS) == 16
    assert all(row.min() >= 0 and row.max() <= 1 for row in SHAPES.values())


def test_mouth_is_closed_in_silence() -> None:
    said = [Phoneme("pau", 0.5), Phoneme("aa", 0.9), Phoneme("pau", 2.0)]
    track = viseme_track(said, 50)
    assert track[:9].max() == 0
    assert track[16:20, JAW].min() > 0.5
    assert track[28:].max() < 0.02


@pytest.mark.parametrize("sound", ["p", "b", "m", "e:p", "e:m"])
def test_lips_close_between_open_vowels(sound: str) -> None:
    said = [Phoneme("aa", 0.60), Phoneme(sound, 0.66), Phoneme("aa", 1.2)]
    jaw = viseme_track(said, 30)[:, JAW]
    assert jaw[10] > 0.6 and jaw[22] > 0.6
    assert jaw[13:18].min() < 0.1


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("ay", ["wide", "smile"]),
        ("pau", ["rest"]),
        ("e:tS", ["hush"]),
        ("e:aI2", ["wide", "smile"]),
        ("e:_:", ["rest"]),
        ("e:oU", ["round", "kiss"]),
    ],
)
def test_sounds_have_shapes(name: str, shapes: list[str]) -> None:
    assert shapes_of(name) == shapes


def test_diphthong_moves_from_its_first_to_its_second_shape() -> None:
    track = viseme_track([Phoneme("pau", 0.3), Phoneme("aw", 0.9)], 25)
    pucker = track[:, CHANNELS.index("mouthPucker")]
    assert np.argmax(track[:, JAW]) < np.argmax(pucker)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("de:y:", ["kiss"]),
        ("de:r", ["back"]),
        ("es:r", ["tip"]),
        ("pl:y", ["smile"]),
        ("fr:O~", ["round"]),
        ("pt:&U~", ["half", "kiss"]),
    ],
)
def test_sounds_of_other_languages_have_shapes(name: str, shapes: list[str]) -> None:
    assert shapes_of(name) == shapes


@pytest.mark.parametrize("name", ["click", "e:(", "de:(", "tlh:q"])
def test_a_sound_that_nobody_knows_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="mouth shape"):
        shapes_of(name)


def test_loud_syllables_open_further_and_closed_lips_stay_closed() -> None:
    said = [Phoneme("pau", 0.2), Phoneme("aa", 0.8), Phoneme("b", 0.9), Phoneme("aa", 1.5)]
    said.append(Phoneme("pau", 2.0))
    noise = np.random.default_rng(0).normal(0, 0.2, 2 * 16_000)
    at_s = np.arange(len(noise)) / 16_000
    voice = noise * np.where(at_s < 0.85, 1.0, 0.08) * ((at_s > 0.2) & (at_s < 1.5))
    jaw = viseme_track(said, 50, voice)[:, JAW]
    plain = viseme_track(said, 50)[:, JAW]
    assert jaw[10:17].mean() > plain[10:17].mean() * 1.02
    assert jaw[24:28].mean() < plain[24:28].mean() * 0.95
    assert jaw[20:22].min() < 0.1 and jaw[42:].max() < 0.02
    soft = viseme_track(said, 50, 0.2 * voice)[:, JAW]
    assert np.allclose(soft[6:20], jaw[6:20], atol=0.05), "a soft clip opens as far"
