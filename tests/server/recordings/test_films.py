"""Coded packets as films: what plays, wherever a file ends, and what is kept for a clip."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer

from rollcast.server.bounded_folder import BoundedFolder
from rollcast.server.media.encoder import Encoders
from rollcast.server.media.sound_encoder import open_sound_encoder
from rollcast.server.recordings.clip_ring import ClipRing
from rollcast.server.recordings.movie import CODECS, KINDS, Movie, MovieKind, clip
from rollcast.server.recordings.piece import Piece
from rollcast.server.recordings.recording import MovieShape, Recording
from rollcast.server.session.media import AudioPiece

SIZE, FPS, KEY_EVERY, FRAMES = (64, 48), 25, 25, 100
BEGIN_US = 7_000_000.0
BEEP = 60
"""The frame that is white, and with which the tone begins."""


@cache
def pieces(kind: MovieKind) -> tuple[Piece, ...]:
    """Four seconds of a stream that was under way: black and silent up to `BEEP`."""
    return tuple(_coded(kind))


def _coded(kind: MovieKind) -> Iterator[Piece]:
    width, height = SIZE
    encoder = Encoders().open(CODECS[kind], width, height, FPS, 500, now_s=0.0)
    sound = open_sound_encoder("opus")
    tone = (8000 * np.sin(np.arange(FRAMES * 640) * 2 * np.pi * 600 / 16_000)).astype(np.int16)
    tone[: BEEP * 640] = 0
    for number in range(FRAMES):
        at_us = BEGIN_US + number * 1e6 / FPS
        if number % 4 == 0:
            heard = tone[number * 640 : (number + 4) * 640]
            for each in sound.encode(AudioPiece(at_us, 0, False, 0.0, heard, 16_000)):
                yield Piece(each.pts_us, False, False, each.payload)
        picture = np.full((height, width, 3), 235 * (number >= BEEP), np.uint8)
        payload, key = encoder.encode(picture, at_us, key=number % KEY_EVERY == 0)
        yield Piece(at_us, True, key, payload)


def shown(data: bytes | Path) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Times and mean levels of frames, times and loudness of sound in steps of 10 ms."""

    def opened() -> InputContainer:
        return av.open(io.BytesIO(data) if isinstance(data, bytes) else str(data), "r")

    with opened() as file:
        frames = [
            (f.time or 0.0, float(f.to_ndarray(format="gray").mean())) for f in file.decode(video=0)
        ]
    heard: list[tuple[float, float]] = []
    with opened() as file:
        for frame in file.decode(audio=0):
            samples = frame.to_ndarray().reshape(-1).astype(float)
            step = frame.sample_rate // 100
            for first in range(0, len(samples) - step + 1, step):
                at = (frame.time or 0.0) + first / frame.sample_rate
                heard.append((at, float(np.abs(samples[first : first + step]).mean())))
    return frames, heard


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_plays_with_sound_and_picture_together(kind: MovieKind) -> None:
    frames, heard = shown(clip(list(pieces(kind)), kind, size=SIZE, fps=FPS))
    assert len(frames) == FRAMES and frames[0][0] == 0.0
    assert frames[-1][0] == pytest.approx((FRAMES - 1) / FPS, abs=0.002)
    white = next(at for at, level in frames if level > 100)
    loudest = max(level for _, level in heard)
    loud = next(at for at, level in heard if level > loudest / 4)
    assert white == pytest.approx(BEEP / FPS, abs=0.002)
    assert abs(loud - white) < 0.08


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_plays_up_to_its_end_wherever_that_is(tmp_path: Path, kind: MovieKind) -> None:
    """As `kill -9` leaves it."""
    path = tmp_path / f"film.{kind}"
    with path.open("wb", buffering=0) as file:
        movie = Movie(file, kind, size=SIZE, fps=FPS, sound=True)
        for piece in pieces(kind):
            movie.write(piece)
        frames, _ = shown(path.read_bytes())
        assert FRAMES - 2 * KEY_EVERY <= len(frames) <= FRAMES
        movie.close()
    assert len(shown(path)[0]) == FRAMES


def test_sound_before_the_first_picture_is_left_out() -> None:
    later = [piece for piece in pieces("webm") if piece.pts_us >= BEGIN_US + 500_000]
    frames, heard = shown(clip(later, "webm", size=SIZE, fps=FPS))
    assert len(frames) == FRAMES - KEY_EVERY and 0 <= heard[0][0] < 0.2


def test_the_ring_keeps_the_newest_seconds_from_a_key_frame_on() -> None:
    ring = ClipRing(2.0)
    for piece in pieces("mp4")[3:]:
        ring.push(piece)
    kept = ring.last(1e9)
    video = [piece for piece in kept if piece.is_video]
    assert kept[0].key and 50 <= len(video) <= 50 + KEY_EVERY
    short = [piece for piece in ring.last(0.5) if piece.is_video]
    assert short[0].key and len(short) == KEY_EVERY
    assert ClipRing(2.0).last(1.0) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_goes_on_in_another_file(tmp_path: Path, kind: MovieKind) -> None:
    folder = BoundedFolder(tmp_path, 10**7, (".mp4", ".webm"))
    recording = Recording(folder, "film", MovieShape(kind, SIZE, FPS, True), file_s=1.5)
    recording.write(pieces(kind))
    recording.close()
    lengths = [len(shown(path)[0]) for path in sorted(tmp_path.iterdir())]
    assert lengths == [2 * KEY_EVERY, 2 * KEY_EVERY]
    assert recording.seconds == pytest.approx(FRAMES / FPS)


def test_a_full_folder_ends_the_recording_and_leaves_what_plays(tmp_path: Path) -> None:
    size = len(clip(list(pieces("mp4")), "mp4", size=SIZE, fps=FPS))
    folder = BoundedFolder(tmp_path, size // 2, (".mp4",))
    recording = Recording(folder, "film", MovieShape("mp4", SIZE, FPS, True), file_s=100)
    with pytest.raises(OSError, match=r"room|written|ended"):
        recording.write(pieces("mp4"))
        recording.close()
    recording.give_up()
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size <= size // 2
    assert 0 < len(shown(path)[0]) < FRAMES
