"""Steps that were handed to the models and have not come back, by stream."""

from __future__ import annotations

from collections import Counter


class UnderWay:
    """Counts per stream; a stream that is forgotten may still report, which is no mistake."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, session_id: str) -> None:
        """A step was handed over."""
        self._counts[session_id] += 1

    def done(self, session_id: str) -> None:
        """A step came back."""
        if self._counts[session_id] > 1:
            self._counts[session_id] -= 1
        else:
            self.forget(session_id)

    def forget(self, session_id: str) -> None:
        """Nothing more will come of this stream."""
        self._counts.pop(session_id, None)

    def clear(self) -> None:
        """Nothing more will come at all."""
        self._counts.clear()

    def of(self, session_id: str) -> int:
        """Steps of one stream."""
        return self._counts[session_id]

    @property
    def total(self) -> int:
        """Steps of all streams."""
        return self._counts.total()
