"""Controls that wait for their media time."""

from __future__ import annotations

from bisect import insort

from ..protocol.errors import RateLimited
from ..protocol.limits import MAX_SCHEDULED
from .pending import ModelControl, packed_control, unpacked_control


class Schedule:
    """Controls with an `at_us`, by that time and then in the order of their arrival."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, ModelControl]] = []

    @property
    def event_ids(self) -> list[str]:
        """Of the controls that wait."""
        return [control.event_id for _, control in self._waiting]

    def record(self) -> list[tuple[float, bytes]]:
        """What another one needs to go on from here."""
        return [(at_us, packed_control(control)) for at_us, control in self._waiting]

    def load(self, record: list[tuple[float, bytes]]) -> None:
        """Go on where another one was."""
        self._waiting = [(at_us, unpacked_control(data)) for at_us, data in record]

    def add(self, control: ModelControl, at_us: float) -> None:
        """Let a control wait. Raises RateLimited when too many do."""
        if len(self._waiting) >= MAX_SCHEDULED:
            raise RateLimited(
                f"{MAX_SCHEDULED} controls wait for their time already",
                field="at_us",
                hint="Send it when some of them were answered.",
                event_id=control.event_id,
            )
        insort(self._waiting, (at_us, control), key=lambda each: each[0])

    def due(self, pts_us: float) -> list[ModelControl]:
        """Take those that a chunk which starts at `pts_us` obeys."""
        ready = [control for at_us, control in self._waiting if at_us <= pts_us]
        del self._waiting[: len(ready)]
        return ready
