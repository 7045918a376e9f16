"""What clients send as sound, from packets to samples."""

from __future__ import annotations

import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.codec.context import CodecContext

from rollcast.server.protocol.client_messages import SessionCreate
from rollcast.server.protocol.errors import InvalidField, TooLarge
from rollcast.server.protocol.packets import Flags, Kind, Packet
from rollcast.server.session.uplink import Uplink, uplink_rate


def packet(payload: bytes) -> Packet:
    return Packet(Kind.AUDIO_IN, Flags.NONE, 0, 0, 0, 0, 0, payload)


def opus(samples: np.ndarray, rate: int, layout: str = "mono") -> list[bytes]:
    """Opus packets of 20 ms of int16 [n]."""
    context = CodecContext.create("libopus", "w")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout, context.format = rate, layout, "s16"
    context.open()
    channels, length = len(context.layout.channels), rate // 50
    payloads: list[bytes] = []
    for begin in range(0, len(samples) - length + 1, length):
        block = np.repeat(samples[begin : begin + length], channels)[None]
        frame = AudioFrame.from_ndarray(block, format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate, begin
        payloads.append(b"".join(map(bytes, context.encode(frame))))
    return payloads


@pytest.mark.parametrize(
    ("rate", "layout"), [(16_000, "mono"), (48_000, "mono"), (48_000, "stereo")]
)
def test_opus_is_decoded_to_mono_at_48_khz(rate: int, layout: str) -> None:
    times = np.arange(rate) / rate
    tone = (9_000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    uplink = Uplink("opus", 48_000)
    sound = np.concatenate([uplink.samples(packet(data)) for data in opus(tone, rate, layout)])
    assert sound.dtype == np.int16 and len(sound) == 48_000
    spectrum = np.abs(np.fft.rfft(sound[4_800:].astype(float)))
    assert np.argmax(spectrum) * 48_000 / (48_000 - 4_800) == pytest.approx(440, abs=3)
    assert 7_000 < np.abs(sound[4_800:].astype(int)).max() < 11_000


def test_what_is_no_opus_is_refused_and_forgotten() -> None:
    uplink = Uplink("opus", 48_000)
    with pytest.raises(InvalidField) as caught:
        uplink.samples(packet(b"\xff" * 50))
    assert caught.value.field == "payload"
    assert len(uplink.samples(packet(opus(np.zeros(960, np.int16), 48_000)[0]))) == 960


def test_pcm_is_whole_samples_of_a_second_at_most() -> None:
    uplink = Uplink("pcm", 8_000)
    assert uplink.samples(packet(b"\x01\x00\xfe\xff")).tolist() == [1, -2]
    with pytest.raises(InvalidField):
        uplink.samples(packet(b"\x01"))
    with pytest.raises(TooLarge):
        uplink.samples(packet(bytes(16_002)))


def test_opus_has_a_rate_of_its_own() -> None:
    assert uplink_rate(SessionCreate()) == 16_000
    assert uplink_rate(SessionCreate(audio_rate=24_000)) == 24_000
    assert uplink_rate(SessionCreate(audio_codec="opus")) == 48_000
    assert uplink_rate(SessionCreate(audio_codec="opus", audio_rate=48_000)) == 48_000
    with pytest.raises(InvalidField) as caught:
        uplink_rate(SessionCreate(audio_codec="opus", audio_rate=16_000))
    assert caught.value.field == "audio_rate"
