"""One viewer's place: what waits to be sent to it, and whether it keeps up.

A socket swallows seconds of stale video before it pushes back, so a viewer is judged by what it
says that it shows. One that is too far behind is sent nothing until it has shown what it has, and
goes on from a key frame.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..protocol.client_messages import Ack
from ..protocol.errors import StreamError
from ..protocol.server_messages import ServerMessage

KEY_AGAIN_S = 2.0
"""Between two key frames that are made for one viewer."""
BEHIND_US = 1_000_000.0
"""What a viewer may be behind, beside what is generated ahead of the stream's own client."""
MAX_MESSAGES = 64


@dataclass(frozen=True, slots=True)
class Coded:
    """A packet that is the same for all who watch; `end_us` is the media time of its end."""

    data: bytes
    seq: int
    end_us: float
    is_video: bool
    is_key: bool


class Seat:
    """Holds packets in their order, messages first; `notify` is called when there is one to send.

    `lead_us` is how far ahead of the stream's own client there may be media.
    """

    def __init__(self, lead_us: float, notify: Callable[[], None], now_s: float) -> None:
        self._limit_us = lead_us + BEHIND_US
        self._notify = notify
        self._messages: deque[ServerMessage] = deque()
        self._media: deque[Coded] = deque()
        self._waits = True
        """Whether nothing can be sent before a key frame."""
        self._key_s = -math.inf
        """When a key frame may be made for it."""
        self._last: Coded | None = None
        """The newest frame that it was sent."""
        self._shown_us = 0.0
        self.heard_s = now_s
        self.cuts = 0
        """How often it was too far behind."""
        self.ended: StreamError | None = None

    @property
    def unsent_messages(self) -> int:
        """Messages that wait."""
        return len(self._messages)

    @property
    def full(self) -> bool:
        """Whether no more should be read of a viewer that reads no answers."""
        return len(self._messages) >= MAX_MESSAGES

    def wants_key(self, now_s: float) -> bool:
        """Whether a key frame should be made for it."""
        return self._waits and now_s >= self._key_s and self._has_caught_up()

    def push(self, coded: Coded, now_s: float) -> None:
        """Give it a packet, unless it waits for another one; it is sent once it is let go."""
        if self._waits:
            if not (coded.is_video and coded.is_key and self._has_caught_up()):
                return
            self._waits, self._shown_us = False, max(self._shown_us, coded.end_us)
            self._key_s = now_s + KEY_AGAIN_S
        if coded.is_video and coded.end_us - self._shown_us > self._limit_us:
            self._cut()
            return
        self._media.append(coded)

    def say(self, message: ServerMessage) -> None:
        """Tell it something; what a viewer that reads nothing is told is lost."""
        if not self.full:
            self._messages.append(message)
            self._notify()

    def end(self, error: StreamError) -> None:
        """Nothing more is sent but the reason."""
        if self.ended is None:
            self.ended = error.anew()
            self._media.clear()
            self._notify()

    def let_go(self) -> None:
        """What it was given can be sent, all of it."""
        if self._media:
            self._notify()

    @property
    def packets(self) -> list[Coded]:
        """All that is to be sent, if that is packets alone."""
        return list(self._media) if not self._messages and self.ended is None else []

    def sent(self, packets: Sequence[Coded]) -> None:
        """These first of them were sent."""
        for coded in packets:
            self._media.popleft()
            if coded.is_video:
                self._last = coded

    def pop(self) -> ServerMessage | Coded | None:
        """What to send next."""
        if self._messages:
            return self._messages.popleft()
        if not self._media:
            return None
        coded = self._media.popleft()
        if coded.is_video:
            self._last = coded
        return coded

    def ack(self, ack: Ack) -> None:
        """It has said what it shows; of what it was never sent nothing is believed."""
        if self._last is None:
            return
        shown_us = min(ack.playhead_us, self._last.end_us)
        if ack.last_seq == self._last.seq:
            shown_us = self._last.end_us
        self._shown_us = max(self._shown_us, shown_us)

    def ask_key(self) -> None:
        """It cannot go on without a key frame."""
        self._waits = True
        self._last = None
        self._media.clear()

    def _cut(self) -> None:
        self.cuts += 1
        self._waits = True
        self._media.clear()

    def _has_caught_up(self) -> bool:
        return self._last is None or self._shown_us >= self._last.end_us
