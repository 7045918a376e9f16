"""Whose streams are written down: those of whoever asked, or all, and pictures of none but whoever
agreed to that."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import OrderedDict
from dataclasses import dataclass

MOST_KEPT = 4096
"""Streams that are remembered; of older ones nobody can fetch the log any more."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What is written of a stream: anything at all, and then also its client's pictures."""

    written: bool
    pictures: bool = False
    brought: bool = False
    """Whether pictures of the client are behind a stream that another server began."""


class Consents:
    """What clients agreed to, and the tokens by which they may fetch their logs; for any thread.

    `all_streams`: the operator writes every stream down, and of a client that is not asked no
    picture.
    """

    def __init__(self, *, all_streams: bool) -> None:
        self._all_streams = all_streams
        self._given: OrderedDict[str, tuple[Consent, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def give(
        self, stream: str, token: str, *, record: bool, pictures: bool, brought: bool = False
    ) -> Consent:
        """Note what a client says of its stream, and by which token it is known again.

        `brought`: its pictures are in all that follows.
        """
        pictures = record and pictures
        written = (self._all_streams or record) and (pictures or not brought)
        consent = Consent(written, pictures, brought)
        if written or brought:
            with self._lock:
                self._given[stream] = consent, _digest(token)
                while len(self._given) > MOST_KEPT:
                    self._given.popitem(last=False)
        return consent

    def of(self, stream: str) -> Consent:
        """What may be written of a stream."""
        with self._lock:
            return self._given.get(stream, (Consent(self._all_streams), b""))[0]

    def may_fetch(self, stream: str, token: str) -> bool:
        """Whether this is the token of a stream that is written down, or was."""
        with self._lock:
            _, digest = self._given.get(stream, (None, b""))
        return hmac.compare_digest(digest, _digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
