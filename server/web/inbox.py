"""One client's messages as they arrive: rate and size, parsing, and an answer to every mistake."""

from __future__ import annotations

from ..protocol.client_messages import ClientMessage
from ..protocol.errors import InvalidField, RateLimited, StreamError, TooLarge
from ..protocol.limits import (
    MAX_FIRST_TEXT_BYTES,
    MESSAGES_PER_S,
    PICTURES_AT_ONCE,
    PICTURES_PER_MINUTE,
)
from ..protocol.messages import correlated, parse_message, pictures_of
from ..protocol.packets import Packet, parse_uplink
from ..session.rates import TokenBucket

MAX_FORGIVEN_S = 60.0
TOLERATED = 300
"""Messages over the limit that are refused one by one before the connection is closed."""
FORGIVEN_PER_S = 10
PAUSE_S = 5.0
"""After which a client that was closed for its mistakes may come back."""
MAX_MARKS = 1_600
"""Commas, colons and brackets of one text. The largest message has 900, its strings 500 more."""
MARKS_PER_S, MARKS_AT_ONCE = 20_000, 40_000
"""What parsing costs goes with the marks: about 1 ms for 1,000 that are valid."""
_MARKS = ",:[{"


class Inbox:
    """Turns what a socket received into messages and packets, or raises a StreamError.

    What the size, the marks or the rate of a text forbid is refused before it is parsed.
    """

    def __init__(self, now_s: float) -> None:
        self._bucket = TokenBucket(rate_per_s=MESSAGES_PER_S, burst=2 * MESSAGES_PER_S, now_s=now_s)
        self._marks = TokenBucket(rate_per_s=MARKS_PER_S, burst=MARKS_AT_ONCE, now_s=now_s)
        self._pictures = TokenBucket(
            rate_per_s=PICTURES_PER_MINUTE / 60, burst=PICTURES_AT_ONCE, now_s=now_s
        )
        self._patience = TokenBucket(rate_per_s=FORGIVEN_PER_S, burst=TOLERATED, now_s=now_s)
        self._stalled_s: float | None = None
        self.greeted = False
        """Whether the client has said hello, with the token if one is needed."""

    def forgive(self, stalled_s: float, now_s: float) -> None:
        """Credit the time for which the server was away; `stalled_s` is all that it ever was."""
        before_s, self._stalled_s = self._stalled_s, stalled_s
        if before_s is not None and stalled_s > before_s:
            for bucket in (self._bucket, self._marks):
                bucket.credit(now_s, min(stalled_s - before_s, MAX_FORGIVEN_S))

    def text(self, text: str, now_s: float) -> ClientMessage:
        """Read a text message."""
        permitted = self._bucket.take(now_s)
        if not self.greeted and len(text) > MAX_FIRST_TEXT_BYTES:
            raise TooLarge(
                f"a message before hello has at most {MAX_FIRST_TEXT_BYTES} bytes",
                hint="Say hello first.",
            )
        marks = sum(map(text.count, _MARKS))
        if marks > MAX_MARKS:
            raise InvalidField("the message has far more fields than any that there is")
        if not self._marks.take(now_s, marks):
            raise RateLimited("too much JSON per second")
        message = parse_message(text)
        if not permitted:
            raise correlated(RateLimited(_OVER), message)
        pictures = pictures_of(message)
        if pictures and not self._pictures.take(now_s, len(pictures)):
            raise correlated(_too_many_pictures(next(iter(pictures))), message)
        return message

    def binary(self, data: bytes, now_s: float) -> Packet:
        """Read a media packet."""
        permitted = self._bucket.take(now_s)
        packet = parse_uplink(data)
        if not permitted:
            raise correlated(RateLimited(_OVER), packet)
        return packet

    def mistake(self, error: StreamError, now_s: float) -> StreamError:
        """`error`, or a fatal one when this client makes nothing but mistakes."""
        if error.fatal or self._patience.take(now_s):
            return error
        return RateLimited(
            "too many messages were refused",
            retry_after_s=PAUSE_S,
            fatal=True,
        )


_OVER = f"more than {MESSAGES_PER_S} messages per second"


def _too_many_pictures(field: str) -> RateLimited:
    """Made here: a frame that holds what it raises is freed by the garbage collector alone."""
    return RateLimited(
        f"more than {PICTURES_PER_MINUTE} pictures a minute",
        field=field,
        hint="Wait some seconds before the next picture.",
    )
