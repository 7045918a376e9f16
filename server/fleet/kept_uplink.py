"""What a client said that may be lost with a replica: kept until that has written it down."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass

MOST_BYTES = 4 << 20
"""Of what is kept; a replica that lives writes everything down twice a second."""
MOST_OWED = 4096


@dataclass(slots=True)
class Said:
    """A message of the client; `number` on the present connection to a replica, 0: not yet sent."""

    data: bytes
    is_text: bool
    number: int = 0


class KeptUplink:
    """Messages in their order, and the answers that the client is owed."""

    def __init__(self) -> None:
        self._said: deque[Said] = deque()
        self._bytes = 0
        self._sent = 0
        self._owed: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._said)

    def pass_on(self) -> None:
        """A message that need not be kept is sent."""
        self._sent += 1

    def keep(self, data: bytes, *, is_text: bool, sent: bool) -> None:
        """Keep a message, which is sent now or with `again`; the oldest make room."""
        self._sent += sent
        self._said.append(Said(data, is_text, self._sent if sent else 0))
        self._bytes += len(data)
        while self._bytes > MOST_BYTES:
            self._bytes -= len(self._said.popleft().data)

    def written(self, heard: int, unacted: Collection[int]) -> None:
        """The replica has written down what it heard, but for what it has not acted on."""
        if not self._said or not 0 < self._said[0].number <= heard:
            return
        kept = [e for e in self._said if not 0 < e.number <= heard or e.number in unacted]
        self._said = deque(kept)
        self._bytes = sum(len(each.data) for each in kept)

    def again(self) -> list[Said]:
        """All of it, for another connection, which hears it first."""
        for number, each in enumerate(self._said, 1):
            each.number = number
        self._sent = len(self._said)
        return list(self._said)

    def owe(self, event_id: str) -> None:
        """The client is owed an answer."""
        self._owed[event_id] += 1
        if len(self._owed) > MOST_OWED:
            del self._owed[next(iter(self._owed))]

    def answered(self, event_id: str) -> bool:
        """An answer came; whether it was owed, or is the second one to a message sent twice."""
        if self._owed[event_id] > 1:
            self._owed[event_id] -= 1
            return True
        return bool(self._owed.pop(event_id, 0))
