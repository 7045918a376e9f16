"""Media time on the client's side: what is shown now, and what the server is told of it.

Pure state with the time passed in; the socket and the clock are the connection's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from .messages import Ack
from .shown import Audio, Frame

Pace = Literal["clock", "reader"]
"""`clock`: media time runs like a clock, and what nobody reads is dropped (a live viewer).
`reader`: media time follows the reading, nothing is dropped (a recorder)."""


class Playhead:
    """Holds back what has arrived until its media time, and says how far the showing is.

    `frame_us` is a frame's duration, `keep` the most items that wait for a slow reader in
    `clock` pace.
    """

    def __init__(self, pace: Pace, frame_us: float, keep: int = 256) -> None:
        self._pace: Pace = pace
        self._frame_us = frame_us
        self._keep = keep
        self._waiting: deque[Frame | Audio] = deque()
        self._ready: deque[Frame | Audio] = deque()
        self._now_s: float | None = None
        self._received_us = 0.0
        self._position_us = 0.0
        self._last_seq = -1
        self._hushed = 0
        self.dropped = 0

    @property
    def position_us(self) -> float:
        """Media time at the last `advance`."""
        return self._position_us

    @property
    def last_seq(self) -> int:
        """The last video frame that was shown, or -1."""
        return self._last_seq

    def arrived(self, media: Frame | Audio, now_s: float) -> None:
        """Take in what the server sent; order as on the wire."""
        if self._now_s is None:
            self._now_s, self._position_us = now_s, media.pts_us
        if isinstance(media, Frame):
            self._received_us = max(self._received_us, media.pts_us + self._frame_us)
        elif self._hushed:
            media.samples.fill(0)
        self._waiting.append(media)
        self.advance(now_s)

    def advance(self, now_s: float) -> None:
        """Let media time run up to now; it waits where nothing has arrived."""
        if self._now_s is None:
            return
        if self._pace == "clock":
            run_us = max(0.0, now_s - self._now_s) * 1e6
            self._position_us = min(self._position_us + run_us, self._received_us)
        self._now_s = now_s
        while self._waiting and self._is_due(self._waiting[0]):
            self._show(self._waiting.popleft())

    def read(self) -> Frame | Audio | None:
        """The next thing for the reader, or None when nothing is due."""
        if not self._ready:
            return None
        media = self._ready.popleft()
        if self._pace == "reader" and isinstance(media, Frame):
            self._position_us = max(self._position_us, media.pts_us + self._frame_us)
            self._last_seq = media.seq
        return media

    @contextmanager
    def hushed(self) -> Iterator[None]:
        """Silence the sound that was not given out yet, and all that arrives meanwhile."""
        self._hushed += 1
        self._mute()
        try:
            yield
        finally:
            self._hushed -= 1

    def _mute(self) -> None:
        for media in (*self._waiting, *self._ready):
            if isinstance(media, Audio):
                media.samples.fill(0)

    def next_due_s(self) -> float | None:
        """When `advance` has something to show next, or None when that hangs on the server."""
        if not self._waiting or self._now_s is None:
            return None
        return self._now_s + max(0.0, self._waiting[0].pts_us - self._position_us) / 1e6

    def ack(self) -> Ack:
        """What to tell the server.

        Frames are decoded as they come, and those that wait here wait for their time: to tell of
        them as waiting for a decoder would cost a viewer with a large lead every second frame.
        """
        return Ack(playhead_us=self._position_us, last_seq=self._last_seq, dropped=self.dropped)

    def _is_due(self, media: Frame | Audio) -> bool:
        return self._pace == "reader" or media.pts_us <= self._position_us

    def _show(self, media: Frame | Audio) -> None:
        if self._pace == "clock" and isinstance(media, Frame):
            self._last_seq = media.seq
        self._ready.append(media)
        if self._pace == "clock" and len(self._ready) > self._keep:
            self.dropped += isinstance(self._ready.popleft(), Frame)
