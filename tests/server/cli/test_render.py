"""`rollcast render` with the test pattern: length, seed, speech, tracks and prompts arrive."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from rollcast.client.audio_file import load_speech
from rollcast.models.test_pattern import prompt_colour, read_barcode
from rollcast.server.cli.app import main

from ...pictures import RED, portrait
from ..other_models import YuvPattern


def render(path: Path, *options: str) -> list[np.ndarray]:
    with pytest.raises(SystemExit) as end:
        main(["render", str(path), "--model", "test-pattern", *options])
    assert not end.value.code
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_as_many_frames_as_asked_for_in_order(tmp_path: Path) -> None:
    frames = render(tmp_path / "a.mp4", "--seconds", "1.6")
    assert [read_barcode(frame) for frame in frames] == list(range(40))


def test_planes_are_written_as_rgb_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = render(tmp_path / "a.mp4", "--seconds", "0.32", "--seed", "3")
    monkeypatch.setattr("rollcast.server.cli.render.load_model", lambda *_, **__: YuvPattern())
    coded = render(tmp_path / "b.mp4", "--seconds", "0.32", "--seed", "3")
    apart = np.abs(np.stack(plain).astype(int) - np.stack(coded))
    assert len(coded) == 8 and apart.mean() < 1


def test_same_seed_same_file(tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        render(tmp_path / f"{name}.mp4", "--seconds", "0.5", "--seed", seed)
    first, second, other = ((tmp_path / f"{n}.mp4").read_bytes() for n in "abc")
    assert first == second
    assert first != other


def test_speech_is_heard_whole_and_late_by_the_look_ahead(tmp_path: Path) -> None:
    tone = (9000 * np.sin(np.arange(9600) * 0.2)).astype(np.int16)
    write_wav(tmp_path / "tone.wav", tone)
    frames = render(tmp_path / "a.mp4", "--audio", str(tmp_path / "tone.wav"))
    assert len(frames) * 0.04 >= len(tone) / 16_000 + 0.16
    loud = np.flatnonzero(np.abs(load_speech(tmp_path / "a.mp4").astype(int)) > 4000) / 16_000
    assert loud[0] == pytest.approx(0.16, abs=0.02)
    assert loud[-1] == pytest.approx(0.16 + 0.6, abs=0.02)


def test_the_film_has_the_sound_of_the_file_and_not_the_models_copy(tmp_path: Path) -> None:
    """A tone that is too high for a model which hears at 16 kHz, in a film of that model."""
    tone = (9000 * np.sin(np.arange(48_000) * 2 * np.pi * 0.25)).astype(np.int16)
    write_wav(tmp_path / "high.wav", tone, 48_000)
    render(tmp_path / "a.mp4", "--audio", str(tmp_path / "high.wav"))
    sound = np.abs(load_speech(tmp_path / "a.mp4", rate=48_000).astype(int))
    loud = np.flatnonzero(sound > 4000) / 48_000
    assert loud[0] == pytest.approx(0.16, abs=0.02)
    assert loud[-1] == pytest.approx(1.16, abs=0.02)


def test_prompts_and_tracks_of_the_script_come_in_time(tmp_path: Path) -> None:
    script = {
        "prompts": [{"t_ms": 480, "text": "a blue wall"}],
        "points": [{"t_ms": 320, "id": 0, "phase": "anchor", "x": 0.5, "y": 0.4}],
    }
    (tmp_path / "s.json").write_text(json.dumps(script))
    frames = render(
        tmp_path / "a.mp4",
        *("--seconds", "0.96", "--prompt", "a red wall", "--tracks", str(tmp_path / "s.json")),
    )
    band = [frame[14:18, 20:108].mean(axis=(0, 1)) for frame in frames]
    assert np.abs(band[11] - prompt_colour("a red wall")).max() < 30
    assert np.abs(band[12] - prompt_colour("a blue wall")).max() < 30
    held = [frame[48:54, 60:67].mean() > 220 for frame in frames]
    assert held == [False] * 8 + [True] * 16


def test_a_picture_is_shown_and_a_missing_one_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "me.jpg").write_bytes(portrait(RED, side=1600))
    options = ("--picture", str(tmp_path / "me.jpg"), "--seconds", "0.2")
    for frame in render(tmp_path / "a.mp4", *options):
        assert np.abs(frame[40:120, 4:12].astype(int) - RED).max() < 40
    with pytest.raises(SystemExit) as end:
        main(["render", str(tmp_path / "b.mp4"), "--model", "test-pattern", "--picture", "no.jpg"])
    assert end.value.code == 2 and "no.jpg" in capsys.readouterr().err
