"""Speech clips: length, silence, loudness and the voices' state."""

import shutil

import numpy as np
import pytest

from training.data.languages import words
from training.data.speech import loudness, speech_clip
from training.data.visemes import CHANNELS
from training.data.voices import speak, voices_of

needs_voices = pytest.mark.skipif(
    not (shutil.which("flite") and shutil.which("espeak-ng")), reason="needs flite and espeak-ng"
)


@needs_voices
def test_clip_has_the_asked_length_and_speaks() -> None:
    clip = speech_clip(np.random.default_rng(3), 75, "train")
    assert clip.audio.shape == (75 * 640,) and clip.visemes.shape == (75, 16)
    assert clip.visemes.max() > 0.4


@needs_voices
@pytest.mark.parametrize("split", ["train", "test"])
def test_mouth_is_closed_in_long_silences(split: str) -> None:
    silent = 0
    for seed in range(6):
        clip = speech_clip(np.random.default_rng(seed), 100, split, espeak_share=0.0)
        start_s = 0.0
        for sound in clip.phonemes:
            first, last = int((start_s + 0.12) * 25) + 1, int((sound.end_s - 0.14) * 25)
            if sound.name == "pau" and first < last and first < 100:
                silent += 1
                assert clip.visemes[first:last].max() < 0.06
            start_s = sound.end_s
    assert silent > 4


@needs_voices
def test_mouth_opens_with_the_sound() -> None:
    jaw, loud = [], []
    for seed in range(4):
        clip = speech_clip(np.random.default_rng(seed), 100, "train")
        jaw.append(clip.visemes[:, CHANNELS.index("jawOpen")])
        level = loudness(clip.audio)
        loud.append(level / level.max())
    assert np.corrcoef(np.concatenate(jaw), np.concatenate(loud))[0, 1] > 0.35


@needs_voices
@pytest.mark.parametrize(("engine", "voice"), [("flite", "awb"), ("espeak", "en-us+f2")])
def test_a_voice_does_not_remember(engine: str, voice: str) -> None:
    first = speak(engine, voice, "a big map")
    speak(engine, voice, "something else entirely")
    again = speak(engine, voice, "a big map")
    assert np.array_equal(first.samples, again.samples) and first.phonemes == again.phonemes
    assert {"p", "e:p"} & {sound.name for sound in first.phonemes}


@needs_voices
@pytest.mark.parametrize("voices", ["train", "test"])
def test_other_languages_are_spoken_with_words_and_voices_of_their_own(voices: str) -> None:
    clip = speech_clip(np.random.default_rng(2), 50, "test", language="pl", voices=voices)
    (voice,) = clip.voices
    assert voice.removeprefix("espeak:") in voices_of("pl", voices)
    assert voice.removeprefix("espeak:") not in voices_of(
        "pl", {"train": "test"}.get(voices, "train")
    )
    assert set(" ".join(clip.texts).split()) <= {w for part in words("pl", "test") for w in part}
    assert {p.name.partition(":")[0] for p in clip.phonemes} == {"pl", "pau"}
    assert clip.visemes.max() > 0.3
