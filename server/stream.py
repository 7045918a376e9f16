"""A session and whoever shows it, as the engine holds them."""

from __future__ import annotations

from typing import Protocol

from .errors import StreamError
from .session import Session


class Viewer(Protocol):
    """A connection, as the engine sees it."""

    def notify(self) -> None:
        """There may be something to send."""
        ...

    def end(self, error: StreamError) -> None:
        """Say so and close, without touching the session any more."""
        ...


class Stream:
    """A session and the connection that shows it, if there is one."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.viewer: Viewer | None = None
        self.counted_skips = 0
        self.counted_underruns = 0

    def notify(self) -> None:
        """Tell the connection to look for output."""
        if self.viewer is not None:
            self.viewer.notify()
