"""Opus of the client comes back as it was, with the time of what is heard."""

import numpy as np
import pytest

from rollcast.client.errors import ProtocolError
from rollcast.client.sound import OpusEncoder, SoundDecoder
from rollcast.client.wire import Flags, Kind, Packet


def packet(payload: bytes, pts_us: float) -> Packet:
    return Packet(Kind.AUDIO_OUT, Flags.NONE, 0, pts_us, 0, 0, 0.0, payload)


def test_a_tone_survives_at_its_time() -> None:
    times = np.arange(16_000) / 16_000
    tone = (9_000 * np.sin(2 * np.pi * 440 * times) * (times > 0.5)).astype(np.int16)
    encoder, decoder = OpusEncoder(16_000), SoundDecoder("opus", 16_000)
    assert decoder.rate == 48_000
    sound: list[np.ndarray] = []
    for number in range(50):
        data = encoder.encode(tone[320 * number : 320 * number + 320])
        samples, pts_us = decoder.decode(packet(data, 20_000 * number - 6_500))
        assert pts_us == pytest.approx(max(0, 20_000 * number - 6_500))
        sound.append(samples)
    onset_s = np.argmax(np.abs(np.concatenate(sound).astype(int)) > 2_000) / 48_000
    assert onset_s == pytest.approx(0.5, abs=0.004)


def test_samples_pass_as_they_are() -> None:
    decoder = SoundDecoder("pcm", 24_000)
    samples, pts_us = decoder.decode(packet(b"\x01\x00\xfe\xff", 40_000))
    assert (samples.tolist(), pts_us, decoder.rate) == ([1, -2], 40_000, 24_000)


def test_what_is_no_opus_is_said_so() -> None:
    with pytest.raises(ProtocolError):
        SoundDecoder("opus", 16_000).decode(packet(b"\xff" * 50, 0))
