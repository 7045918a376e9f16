"""When each packet of one viewer leaves: one clock for sound and picture, without any I/O.

Media comes in bursts of a chunk; RTP wants it as a camera would give it. A packet leaves at its
media time, on a wire clock that runs like a wall clock. Where media comes too late, or stood still,
the wire clock runs on and media time is shifted against it: to the receiver that is a camera that
gave nothing for a while, and its buffers stay as short as they were.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from ..protocol.packets import Kind, Packet

SLACK_US = 20_000.0
"""So much too late moves nothing: a receiver's buffer takes it."""


@dataclass(frozen=True, slots=True)
class Released:
    """A packet that leaves now, and its time on the wire clock in microseconds."""

    packet: Packet
    wire_us: float


class Pacer:
    """Packets of kinds VIDEO and AUDIO_OUT in, the same packets out when they are due.

    The first one out is a picture. `frame_us` is how long one lasts. Sound that belongs to a
    picture which is there is never held back for another; what is newer shifts media time as a
    late picture does.
    """

    def __init__(self, frame_us: float, slack_us: float = SLACK_US) -> None:
        self._frame_us = frame_us
        self._slack_us = slack_us
        self._waiting: list[tuple[float, int, int, Packet]] = []
        self._count = 0
        self._begin_s: float | None = None
        self._shown_us = 0.0
        """The end of the newest picture that was released."""
        self.shift_us = 0.0
        """The wire clock less media time."""

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, packet: Packet) -> None:
        """Take a packet in."""
        first = 0 if packet.kind is Kind.VIDEO else 1
        heapq.heappush(self._waiting, (packet.pts_us, first, self._count, packet))
        self._count += 1

    def pop(self, now_s: float) -> Released | None:
        """A packet that is due; ask again until there is none."""
        self._begin(now_s)
        if self._begin_s is None or not self._waiting:
            return None
        packet = self._waiting[0][3]
        late_us = (now_s - self._begin_s) * 1e6 - packet.pts_us - self.shift_us
        if late_us < 0:
            return None
        heapq.heappop(self._waiting)
        is_new = packet.kind is Kind.VIDEO or packet.pts_us >= self._shown_us
        if late_us > self._slack_us and is_new:
            self.shift_us += late_us
        if packet.kind is Kind.VIDEO:
            self._shown_us = packet.pts_us + self._frame_us
        return Released(packet, packet.pts_us + self.shift_us)

    def next_s(self) -> float | None:
        """When the next packet is due; None: not before another one comes."""
        if self._begin_s is None or not self._waiting:
            return None
        return self._begin_s + (self._waiting[0][0] + self.shift_us) / 1e6

    def _begin(self, now_s: float) -> None:
        """The clocks start with the first picture; sound that ends before it is not played."""
        if self._begin_s is not None:
            return
        pictures = [pts_us for pts_us, _, _, packet in self._waiting if packet.kind is Kind.VIDEO]
        if pictures:
            first_us = min(pictures)
            self._begin_s, self._shown_us = now_s - first_us / 1e6, first_us
            self._waiting = [each for each in self._waiting if each[0] > first_us - self._frame_us]
            heapq.heapify(self._waiting)
