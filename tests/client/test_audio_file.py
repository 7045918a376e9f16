"""Speech from audio files: resampled, mixed down, and clear about what is no audio."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from rollcast.client.audio_file import load_speech

RATE = 16_000


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
