"""The newest seconds of a stream as they were coded: a clip begins at one of its key frames."""

from __future__ import annotations

from collections import deque

from .piece import Piece

MOST_BYTES = 64 << 20
"""Of one stream, whatever its bitrate."""


class ClipRing:
    """Keeps at least the newest `seconds`, from a key frame on, and no more than that takes."""

    def __init__(self, seconds: float) -> None:
        self._length_us = seconds * 1e6
        self._pieces: deque[Piece] = deque()
        self._bytes = 0

    def push(self, piece: Piece) -> None:
        """Keep a piece; what is too old goes, up to a key frame."""
        if not self._pieces and not piece.key:
            return
        self._pieces.append(piece)
        self._bytes += len(piece.payload)
        while (first := self._next_key()) is not None and (
            piece.pts_us - self._pieces[first].pts_us >= self._length_us or self._bytes > MOST_BYTES
        ):
            for _ in range(first):
                self._bytes -= len(self._pieces.popleft().payload)

    def last(self, seconds: float) -> list[Piece]:
        """The newest pieces from a key frame on: so many seconds at least, if they are there."""
        if not self._pieces:
            return []
        from_us = max(piece.pts_us for piece in self._pieces) - seconds * 1e6
        keys = [place for place, piece in enumerate(self._pieces) if piece.key]
        before = [place for place in keys if self._pieces[place].pts_us <= from_us]
        first = before[-1] if before else keys[0]
        return list(self._pieces)[first:]

    def _next_key(self) -> int | None:
        """The place of the second key frame."""
        keys = (place for place, piece in enumerate(self._pieces) if piece.key and place)
        return next(keys, None)
