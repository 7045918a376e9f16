"""A packet of a stream as a film has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ..audience.seat import Coded
from ..protocol.packets import Flags, Kind, parse_packet


@dataclass(frozen=True, slots=True)
class Piece:
    """Coded picture or sound that is shown or heard from `pts_us` on; `key` begins anything."""

    pts_us: float
    is_video: bool
    key: bool
    payload: bytes

    @classmethod
    def of(cls, coded: Coded) -> Self:
        """What a channel gave."""
        packet = parse_packet(coded.data)
        is_video = packet.kind is Kind.VIDEO
        return cls(packet.pts_us, is_video, is_video and Flags.KEY in packet.flags, packet.payload)
