"""Binary media packets: a fixed 32-byte little-endian header, then the payload."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np

from .errors import InvalidField, StreamError, TooLarge, UnknownType, UnsupportedVersion
from .limits import MAX_AUDIO_MS, MAX_AUDIO_RATE, MAX_FRAME_BYTES, PROTOCOL_VERSION

HEADER = struct.Struct("<BBHIdIId")
"""version u8, kind u8, flags u16, seq u32, pts_us f64, chunk u32, generation u32, server_ms f64."""


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
    """One media packet; `pts_us` is media time, `server_ms` the server's clock when generated."""

    kind: Kind
    flags: Flags
    seq: int
    pts_us: float
    chunk: int
    generation: int
    server_ms: float
    payload: bytes


def encode_packet(packet: Packet) -> bytes:
    """The packet as bytes for one binary message."""
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


def parse_packet(data: bytes) -> Packet:
    """Read any packet. Raises a StreamError for bytes that are none."""
    if len(data) < HEADER.size:
        raise InvalidField(
            f"a packet starts with a {HEADER.size}-byte header, got {len(data)} bytes",
            field="header",
        )
    version, kind, flags, seq, pts_us, chunk, generation, server_ms = HEADER.unpack_from(data)
    if version != PROTOCOL_VERSION:
        raise UnsupportedVersion(
            f"packet version must be {PROTOCOL_VERSION}, got {version}",
            field="version",
            hint="Write 1 in the first byte of the header.",
            fatal=False,
        )
    if kind not in _KINDS:
        raise UnknownType(f"unknown packet kind {kind}", field="kind")
    if flags & ~_ALL_FLAGS:
        raise InvalidField(f"unknown flag bits {flags:#x}", field="flags")
    if not math.isfinite(pts_us):
        raise InvalidField("pts_us must be finite", field="pts_us")
    if not math.isfinite(server_ms):
        raise InvalidField("server_ms must be finite", field="server_ms")
    payload = data[HEADER.size :]
    return Packet(Kind(kind), Flags(flags), seq, pts_us, chunk, generation, server_ms, payload)


def is_key(data: bytes) -> bool:
    """Whether an encoded packet can be decoded without any other."""
    return bool(HEADER.unpack_from(data)[2] & Flags.KEY)


def parse_uplink(data: bytes) -> Packet:
    """Read a client's packet: audio or video. What is in it is not looked at.

    Raises a StreamError, with the packet's `seq` where that can be read.
    """
    try:
        packet = parse_packet(data)
        _check_uplink(packet)
    except StreamError as error:
        if len(data) >= HEADER.size:
            error.seq = HEADER.unpack_from(data)[3]
        raise
    return packet


def _check_uplink(packet: Packet) -> None:
    if packet.kind not in _UPLINK:
        raise UnknownType(
            f"a client sends only packets of kinds {' and '.join(map(str, map(int, _UPLINK)))}, "
            f"got {int(packet.kind)}",
            field="kind",
        )
    for name in ("flags", "chunk", "generation", "server_ms"):
        if value := getattr(packet, name):
            raise InvalidField(
                f"{name} is the server's to say and must be 0, got {value}", field=name
            )
    if not packet.payload:
        what = "picture" if packet.kind is Kind.VIDEO_IN else "sound"
        raise InvalidField(f"there is no {what} in the packet", field="payload")
    if packet.kind is Kind.VIDEO_IN:
        _check_frame(packet)
    elif len(packet.payload) > 2 * MAX_AUDIO_MS * MAX_AUDIO_RATE // 1000:
        check_pcm(packet, MAX_AUDIO_RATE)


def _check_frame(packet: Packet) -> None:
    if len(packet.payload) > MAX_FRAME_BYTES:
        raise TooLarge(
            f"a frame has at most {MAX_FRAME_BYTES} bytes, this one {len(packet.payload)}",
            field="payload",
            hint="Encode it at the size that the model names, or at a lower quality.",
        )


def check_pcm(packet: Packet, rate: int) -> None:
    """Raise InvalidField for half a sample, TooLarge for more than a packet may last."""
    if len(packet.payload) % 2:
        raise InvalidField(
            f"pcm is samples of 16 bits: the payload must have an even length, "
            f"got {len(packet.payload)} bytes",
            field="payload",
        )
    count, most = len(packet.payload) // 2, MAX_AUDIO_MS * rate // 1000
    if count > most:
        raise TooLarge(
            f"a packet lasts at most {MAX_AUDIO_MS} ms, which is {most} samples at {rate} Hz, "
            f"got {count}",
            field="payload",
            hint="Split the audio into packets of 20 ms.",
        )


def samples(packet: Packet) -> np.ndarray:
    """An audio packet's samples, int16 [n]."""
    return np.frombuffer(packet.payload, dtype="<i2").astype(np.int16, copy=False)


_UPLINK = (Kind.AUDIO_IN, Kind.VIDEO_IN)
_KINDS = frozenset(int(kind) for kind in Kind)
_ALL_FLAGS = int(Flags.KEY | Flags.DISCONTINUITY | Flags.LAST_OF_CHUNK)
