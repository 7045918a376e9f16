"""Sound as samples and as Opus: what a decoder hears is at the time that its packet says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from av.codec.context import CodecContext
from av.packet import Packet as CodecPacket

from rollcast.server.media.sound_encoder import CodedSound, OpusEncoder, open_sound_encoder
from rollcast.server.session.media import AudioPiece


def tone(rate: int, seconds: float, start_s: float) -> np.ndarray:
    """Silence, then a tone from `start_s` on, int16 [n]."""
    times = np.arange(round(rate * seconds)) / rate
    return (9_000 * np.sin(2 * np.pi * 440 * times) * (times >= start_s)).astype(np.int16)


def pieces(
    samples: np.ndarray, rate: int, length: int, first_us: float = 0
) -> Iterator[AudioPiece]:
    for begin in range(0, len(samples), length):
        pts_us = first_us + begin * 1e6 / rate
        yield AudioPiece(pts_us, begin // length, False, 0.0, samples[begin : begin + length], rate)


def heard(coded: list[CodedSound]) -> tuple[np.ndarray, float]:
    """All samples at 48 kHz, and the time of the first one in microseconds."""
    decoder = CodecContext.create("libopus", "r")
    frames = [frame for each in coded for frame in decoder.decode(CodecPacket(each.payload))]  # pyright: ignore[reportAttributeAccessIssue]
    return np.concatenate([frame.to_ndarray().reshape(-1, 2)[:, 0] for frame in frames]), coded[
        0
    ].pts_us


def test_pcm_is_little_endian_and_whole() -> None:
    (coded,) = open_sound_encoder("pcm").encode(
        AudioPiece(5.0, 0, True, 0.0, np.array([1, -2], np.int16), 16_000)
    )
    assert coded == CodedSound(5.0, True, b"\x01\x00\xfe\xff")


@pytest.mark.parametrize(("rate", "length"), [(16_000, 2560), (24_000, 1000), (22_050, 3307)])
def test_opus_is_heard_when_it_should_be(rate: int, length: int) -> None:
    encoder = open_sound_encoder("opus")
    coded = [
        each for piece in pieces(tone(rate, 2, 0.5), rate, length) for each in encoder.encode(piece)
    ]
    sound, first_us = heard(coded)
    onset = int(np.argmax(np.abs(sound.astype(int)) > 2_000))
    assert first_us == -6_500
    assert first_us + onset * 1e6 / 48_000 == pytest.approx(500_000, abs=4_000)
    starts = [each.pts_us for each in coded]
    assert np.allclose(np.diff(starts), 20_000)
    assert all(0 < len(each.payload) < 1_276 for each in coded)


def test_opus_is_a_fraction_of_pcm() -> None:
    encoder = OpusEncoder()
    coded = [
        each for piece in pieces(tone(16_000, 4, 0), 16_000, 2560) for each in encoder.encode(piece)
    ]
    kbps = sum(len(each.payload) for each in coded) * 8 / 1000 / 4
    assert kbps < 256 / 5


def test_a_discontinuity_is_said_once_with_the_first_packet_that_has_it() -> None:
    encoder = OpusEncoder()
    silence = np.zeros(1000, np.int16)
    coded = encoder.encode(AudioPiece(0, 0, False, 0, silence, 16_000))
    coded += encoder.encode(AudioPiece(62_500, 1, True, 0, silence, 16_000))
    assert [each.discontinuity for each in coded] == [False] * 3 + [True] + [False] * 2


def test_after_a_gap_the_time_is_that_of_the_new_piece() -> None:
    encoder = OpusEncoder()
    encoder.encode(AudioPiece(0, 0, False, 0, np.zeros(2700, np.int16), 16_000))
    coded = encoder.encode(AudioPiece(1e6, 1, True, 0, np.zeros(2560, np.int16), 16_000))
    assert coded[0].pts_us == 160_000 - 6_500  # what was over, filled up with silence
    assert coded[1].pts_us == 1e6 - 6_500 and coded[1].discontinuity
