"""Packets survive the round trip and every byte string gives a packet or a documented error."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.server.protocol.errors import StreamError
from rollcast.server.protocol.limits import MAX_AUDIO_MS, MAX_AUDIO_RATE, MAX_FRAME_BYTES
from rollcast.server.protocol.messages import correlated
from rollcast.server.protocol.packets import (
    HEADER,
    Flags,
    Kind,
    Packet,
    check_pcm,
    encode_packet,
    parse_packet,
    parse_uplink,
    samples,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "protocol_vectors.json").read_text()
)


@pytest.mark.parametrize("vector", VECTORS["packets"], ids=lambda vector: vector["name"])
def test_a_golden_packet_is_read_and_written(vector: dict[str, Any]) -> None:
    fields = dict(vector["fields"])
    packet = Packet(
        Kind(fields["kind"]),
        Flags(fields["flags"]),
        fields["seq"],
        fields["pts_us"],
        fields["chunk"],
        fields["generation"],
        fields["server_ms"],
        bytes.fromhex(fields["payload_hex"]),
    )
    assert encode_packet(packet).hex() == vector["hex"]
    assert parse_packet(bytes.fromhex(vector["hex"])) == packet


@pytest.mark.parametrize(
    "vector", VECTORS["invalid_uplink_packets"], ids=lambda vector: vector["name"]
)
def test_an_invalid_uplink_packet_names_its_code_and_field(vector: dict[str, Any]) -> None:
    packet = None
    with pytest.raises(StreamError) as caught:
        packet = parse_uplink(bytes.fromhex(vector["hex"]))
        check_pcm(packet, MAX_AUDIO_RATE)
    error = correlated(caught.value, packet)
    assert (error.code, error.field, error.seq) == tuple(
        vector[k] for k in ("code", "field", "seq")
    )
    assert not error.fatal


def test_the_header_has_32_bytes() -> None:
    assert VECTORS["header"] == HEADER.format
    assert HEADER.size == 32


def audio_packet(samples: int) -> Packet:
    return Packet(Kind.AUDIO_IN, Flags.NONE, 0, 0, 0, 0, 0, bytes(2 * samples))


def test_more_audio_than_any_rate_permits_is_too_large() -> None:
    most = MAX_AUDIO_MS * MAX_AUDIO_RATE // 1000
    parse_uplink(encode_packet(audio_packet(most)))
    with pytest.raises(StreamError) as caught:
        parse_uplink(encode_packet(audio_packet(most + 1)))
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("rate", [8_000, 24_000])
def test_a_packet_is_bounded_by_how_long_it_lasts(rate: int) -> None:
    check_pcm(audio_packet(rate), rate)
    with pytest.raises(StreamError) as caught:
        check_pcm(audio_packet(rate + 1), rate)
    assert caught.value.code == "too_large"
    assert f"{rate} samples at {rate} Hz" in caught.value.message


def test_a_frame_of_video_has_its_own_bound() -> None:
    def frame(size: int) -> bytes:
        return encode_packet(Packet(Kind.VIDEO_IN, Flags.NONE, 7, 0, 0, 0, 0, bytes(size)))

    assert parse_uplink(frame(MAX_FRAME_BYTES)).kind is Kind.VIDEO_IN
    with pytest.raises(StreamError) as caught:
        parse_uplink(frame(MAX_FRAME_BYTES + 1))
    assert (caught.value.code, caught.value.field, caught.value.seq) == ("too_large", "payload", 7)


def test_samples_are_little_endian() -> None:
    packet = Packet(Kind.AUDIO_IN, Flags.NONE, 0, 0, 0, 0, 0, b"\x01\x00\xfe\xff")
    np.testing.assert_array_equal(samples(packet), [1, -2])


@given(
    st.binary(max_size=80)
    | st.binary(max_size=60).map(lambda rest: b"\x01\x10" + rest)
    | st.binary(max_size=60).map(lambda rest: b"\x01\x11" + rest)
)
def test_parsing_is_total(data: bytes) -> None:
    try:
        packet = parse_uplink(data)
    except StreamError:
        return
    assert encode_packet(packet) == data
