"""The packet layout agrees with the shared vectors, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rollcast.client.errors import ProtocolError
from rollcast.client.wire import HEADER, Flags, Kind, Packet, pack, speech_packet, unpack

VECTORS = json.loads((Path(__file__).parents[1] / "fixtures" / "protocol_vectors.json").read_text())


def _expected(fields: dict) -> Packet:
    payload = bytes.fromhex(fields["payload_hex"])
    plain = {k: v for k, v in fields.items() if k not in ("payload_hex", "kind", "flags")}
    return Packet(Kind(fields["kind"]), Flags(fields["flags"]), payload=payload, **plain)


def test_header_layout() -> None:
    assert VECTORS["header"] == HEADER.format
    assert HEADER.size == 32


@pytest.mark.parametrize("vector", VECTORS["packets"], ids=lambda v: v["name"])
def test_packets_both_ways(vector: dict) -> None:
    data = bytes.fromhex(vector["hex"])
    packet = unpack(data)
    assert packet is not None and packet == _expected(vector["fields"])
    assert pack(packet) == data


@pytest.mark.parametrize("vector", VECTORS["unknown_server_packets"], ids=lambda v: v["name"])
def test_unknown_packets_of_a_newer_server_are_ignored(vector: dict) -> None:
    assert unpack(bytes.fromhex(vector["hex"])) is None


@pytest.mark.parametrize("data", [b"", b"\x01" * 31, b"\x02" + bytes(40)])
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(data)


def test_speech_packet_carries_the_time_of_its_first_sample() -> None:
    packet = unpack(speech_packet(np.arange(320, dtype="<i2").tobytes(), 16_000, 50))
    assert packet is not None
    assert (packet.kind, packet.seq, packet.pts_us) == (Kind.AUDIO_IN, 50, 1e6)
    assert len(packet.payload) == 640
