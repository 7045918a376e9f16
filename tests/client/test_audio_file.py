"""Speech from audio files: resampled, mixed down, and clear about what is no audio."""

from __future__ import annotations

import os
import threading
import tracemalloc
import wave
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from rollcast.client.audio_file import load_speech

RATE = 16_000
INPUTS = Path(__file__).parents[1] / "fixtures" / "inputs"


def tone(seconds: float, rate: int) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


def test_speech_is_resampled_and_mixed_down(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=44_100)
        stereo = np.repeat(tone(0.5, 44_100), 2)[None]
        frame = av.AudioFrame.from_ndarray(stereo, format="s16", layout="stereo")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    speech = load_speech(path)
    assert speech.dtype == np.int16
    assert abs(len(speech) - RATE // 2) <= 2
    spectrum = np.abs(np.fft.rfft(speech))
    assert abs(int(spectrum.argmax()) * RATE / len(speech) - 440) < 3


def test_errors_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such audio file"):
        load_speech(tmp_path / "nothing.wav")
    (tmp_path / "text.wav").write_text("this is no sound")
    with pytest.raises(ValueError, match="give a WAV"):
        load_speech(tmp_path / "text.wav")


def untold(text: str) -> None:
    raise AssertionError(f"nothing is broken, but: {text}")


def write_mp3(path: Path, seconds: float, rate: int, layout: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=rate)
        stream.layout = layout
        sound = np.repeat(tone(seconds, rate), 2 if layout == "stereo" else 1)[None]
        frame = av.AudioFrame.from_ndarray(sound, format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_joined_files_are_one_speech(tmp_path: Path) -> None:
    joined = (INPUTS / "joined.mp3").read_bytes()
    (tmp_path / "half.mp3").write_bytes(joined[: len(joined) // 2])
    half = load_speech(tmp_path / "half.mp3", tell=untold)
    both = load_speech(INPUTS / "joined.mp3", tell=untold)
    assert 2 * len(half) <= len(both) <= 2 * len(half) + RATE // 5
    loud = np.abs(both.astype(int)) > 1000
    assert loud.sum() == pytest.approx(2 * (np.abs(half.astype(int)) > 1000).sum(), rel=0.05)


def test_joined_files_may_differ_in_rate_and_channels(tmp_path: Path) -> None:
    write_mp3(tmp_path / "a.mp3", 1.0, 44_100, "stereo")
    write_mp3(tmp_path / "b.mp3", 1.0, 16_000, "mono")
    whole = (tmp_path / "a.mp3").read_bytes() + (tmp_path / "b.mp3").read_bytes()
    (tmp_path / "both.mp3").write_bytes(whole)
    assert 2.0 <= len(load_speech(tmp_path / "both.mp3", tell=untold)) / RATE <= 2.3


def test_what_is_broken_is_left_out_and_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    speech = load_speech(INPUTS / "zero-padded.mp3", tell=told.append)
    assert 1.1 < len(speech) / RATE < 1.4
    assert len(told) == 1 and "zero-padded.mp3 is broken in one place" in told[0]
    joined = (INPUTS / "joined.mp3").read_bytes()
    junk = np.random.default_rng(0).bytes(50_000)
    (tmp_path / "junk.mp3").write_bytes(joined + junk)
    told.clear()
    assert len(load_speech(tmp_path / "junk.mp3", tell=told.append)) / RATE > 2.4
    assert len(told) == 1


def test_a_file_that_was_cut_is_read_up_to_there(tmp_path: Path) -> None:
    for name, codec in (("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.ogg", "libopus")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = cast(AudioStream, container.add_stream(codec, rate=RATE))
            for number in range(20):
                sound = tone(0.1, RATE)[None]
                frame = av.AudioFrame.from_ndarray(sound, format="s16", layout="mono")
                frame.sample_rate, frame.pts = RATE, number * sound.shape[1]
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
        assert 0.8 < len(load_speech(tmp_path / name, tell=lambda _: None)) / RATE < 1.5


def test_a_file_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="no sound in it"):
        load_speech(INPUTS / "empty.wav")
    with pytest.raises(ValueError, match="no audio in it"):
        load_speech(INPUTS / "alpha.png")
    with pytest.raises(ValueError, match="is a folder"):
        load_speech(INPUTS)


def test_names_with_colons_and_pipes_are_read(tmp_path: Path) -> None:
    data = (INPUTS / "joined.mp3").read_bytes()
    (tmp_path / "12:30 said.mp3").write_bytes(data)
    speech = load_speech(tmp_path / "12:30 said.mp3")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    assert np.array_equal(load_speech(tmp_path / "pipe"), speech)
    writer.join()


def test_a_dash_is_what_is_piped_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(INPUTS / "joined.mp3") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        speech = load_speech("-")
    assert np.array_equal(speech, load_speech(INPUTS / "joined.mp3"))


@pytest.mark.slow
def test_a_long_file_takes_the_memory_of_its_samples(tmp_path: Path) -> None:
    seconds = 600
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((2, 2, 48_000, 0, "NONE", ""))
        for _ in range(seconds):
            file.writeframes(bytes(4 * 48_000))
    tracemalloc.start()
    speech = load_speech(tmp_path / "long.wav")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(speech) == pytest.approx(seconds * RATE, abs=RATE // 100)
    assert most < 2.5 * speech.nbytes
