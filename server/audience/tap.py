"""Somebody who takes all packets of a channel and shows them to nobody: a recording, say.

No viewer: it has no seat, is not counted, and is never behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..protocol.errors import StreamError
from .seat import Coded

KEY_EVERY_S = 2.0
"""A film can be begun, and gone to, at a key frame."""


class Tap:
    """Gives `take` every packet from the first key frame on; `over` is called at the end."""

    cuts = 0

    def __init__(self, take: Callable[[Coded], None], over: Callable[[], None]) -> None:
        self._take = take
        self._over = over
        self._key_s = -math.inf
        self._begun = False

    def wants_key(self, now_s: float) -> bool:
        """Whether a key frame should be made for it."""
        return now_s >= self._key_s

    def push(self, coded: Coded, now_s: float) -> None:
        """Give it a packet."""
        if coded.is_key:
            self._key_s, self._begun = now_s + KEY_EVERY_S, True
        if self._begun:
            self._take(coded)

    def let_go(self) -> None:
        """It has taken all of it already."""

    def end(self, error: StreamError) -> None:
        """Nothing more comes."""
        del error
        self._over()
