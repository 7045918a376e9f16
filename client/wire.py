"""Binary media packets as the wire has them: a 32-byte little-endian header, then the payload."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from .errors import ProtocolError

PROTOCOL_VERSION = 1
HEADER = struct.Struct("<BBHIdIId")
AUDIO_RATE = 16_000
"""Samples per second of speech for the server, unless another rate was asked for."""

OPUS_RATE = 48_000
"""At which Opus is decoded."""


class Kind(IntEnum):
    """What a packet carries."""

    VIDEO = 1
    AUDIO_OUT = 2
    AUDIO_IN = 16
    VIDEO_IN = 17


class Flags(IntFlag):
    """Properties of one packet."""

    NONE = 0
    KEY = 1
    DISCONTINUITY = 2
    LAST_OF_CHUNK = 4


@dataclass(frozen=True, slots=True)
class Packet:
    """One media packet; `pts_us` is media time, `server_ms` the server's clock."""

    kind: Kind
    flags: Flags
    seq: int
    pts_us: float
    chunk: int
    generation: int
    server_ms: float
    payload: bytes


def pack(packet: Packet) -> bytes:
    """The packet as one binary message."""
    header = HEADER.pack(
        PROTOCOL_VERSION,
        packet.kind,
        packet.flags,
        packet.seq,
        packet.pts_us,
        packet.chunk,
        packet.generation,
        packet.server_ms,
    )
    return header + packet.payload


def unpack(data: bytes) -> Packet | None:
    """Read a packet; None for one of a kind that version 1 has not yet.

    Raises ProtocolError for bytes that are none of version 1.
    """
    if len(data) < HEADER.size:
        raise ProtocolError(f"a packet has at least {HEADER.size} bytes, got {len(data)}")
    version, kind, flags, seq, pts_us, chunk, generation, server_ms = HEADER.unpack_from(data)
    if version != PROTOCOL_VERSION:
        raise ProtocolError(f"packet version must be {PROTOCOL_VERSION}, got {version}")
    if kind not in tuple(Kind):
        return None
    payload = data[HEADER.size :]
    return Packet(Kind(kind), Flags(flags), seq, pts_us, chunk, generation, server_ms, payload)


def speech_packet(samples: bytes, first_sample: int, seq: int, rate: int = AUDIO_RATE) -> bytes:
    """Speech for the server: s16le mono at `rate`, with its first sample's index in the speech."""
    pts_us = first_sample * 1e6 / rate
    return pack(Packet(Kind.AUDIO_IN, Flags.NONE, seq, pts_us, 0, 0, 0.0, samples))


def frame_packet(jpeg: bytes, seq: int, pts_us: float) -> bytes:
    """A frame of video for the server, taken at `pts_us` on the client's clock."""
    return pack(Packet(Kind.VIDEO_IN, Flags.NONE, seq, pts_us, 0, 0, 0.0, jpeg))
