"""A stream that may start a chunk, and how much longer than of late that may take."""

from __future__ import annotations

from dataclasses import dataclass

LONGER = 1.1
"""A chunk may take so many times as long as it does of late."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stream that may start a chunk now; its viewer runs dry at `deadline_s`."""

    session_id: str
    deadline_s: float
