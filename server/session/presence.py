"""When a stream's client was heard, seen to watch and lost: what ends it, or frees its place."""

from __future__ import annotations

import math

from ..protocol.errors import SessionExpired, StreamError, Timeout
from .options import SessionOptions


class Presence:
    """Whether a client is connected, and since when; pure state with the time passed in."""

    def __init__(self, options: SessionOptions, now_s: float) -> None:
        self._options = options
        self.attached = True
        """Whether a client is connected."""
        self._heard_s = self._lost_s = self._began_s = self._watched_s = now_s
        self._paused_s = math.inf

    def heard(self, now_s: float) -> None:
        """The client said something."""
        self._heard_s = now_s

    def watched(self, now_s: float) -> None:
        """It was seen to watch or to speak."""
        self._watched_s = now_s

    def came(self, now_s: float) -> None:
        """A client is connected again."""
        self.attached = True
        self._heard_s = self._watched_s = now_s

    def left(self, now_s: float) -> None:
        """The connection is gone."""
        self.attached, self._lost_s = False, now_s

    def paused(self, now_s: float) -> None:
        """Nothing is to be shown from now on, unless that was so before."""
        self._paused_s = min(self._paused_s, now_s)

    def resumed(self) -> None:
        """It goes on."""
        self._paused_s = math.inf

    def excuse(self, begin_s: float, end_s: float) -> None:
        """The server itself stood still meanwhile: nobody could be heard or come back."""
        stall_s = end_s - begin_s
        self._heard_s += stall_s if self._heard_s <= begin_s else 0.0
        self._lost_s += stall_s if self._lost_s <= begin_s else 0.0

    def has_lasted(self, seconds: float, now_s: float) -> None:
        """The stream was opened so long ago, on another server."""
        self._began_s = now_s - seconds

    def age_s(self, now_s: float) -> float:
        """Seconds since the stream was opened."""
        return now_s - self._began_s

    def verdict(self, now_s: float) -> StreamError | None:
        """Why the connection has to end, if it has to."""
        options = self._options
        if now_s - self._heard_s > options.idle_timeout_s:
            return Timeout(f"nothing was heard for {options.idle_timeout_s:g} s")
        limit_s = options.max_duration_s
        if limit_s is not None and self.age_s(now_s) >= limit_s:
            return SessionExpired(
                f"a stream may last {limit_s:g} s on this server",
                hint="Open a new stream.",
                fatal=True,
            )
        return None

    def expired(self, now_s: float) -> bool:
        """Whether nobody came back in time."""
        return not self.attached and now_s - self._lost_s >= self._options.grace_s

    def expires_in_s(self, now_s: float) -> float | None:
        """Seconds until the stream is given up; None while a client is connected."""
        if self.attached:
            return None
        return max(0.0, self._lost_s + self._options.grace_s - now_s)

    def ends_in_s(self, now_s: float) -> float | None:
        """Seconds until the stream is over at the latest; None while nobody can say."""
        limit_s, gone_s = self._options.max_duration_s, self.expires_in_s(now_s)
        left_s = None if limit_s is None else max(0.0, limit_s - self.age_s(now_s))
        return min((each for each in (left_s, gone_s) if each is not None), default=None)

    def unwatched_s(self, now_s: float) -> float:
        """How long the client was not seen to watch or to speak."""
        return now_s - self._watched_s

    def still_s(self, now_s: float) -> float:
        """How long nothing was to be shown, paused or without a client; less than 0: it plays."""
        return now_s - min(self._paused_s, math.inf if self.attached else self._lost_s)
