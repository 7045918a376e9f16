"""All that is needed to go on with one stream elsewhere: pure, and bounded.

A server keeps it for whoever comes next, a gateway for the case that the server is lost.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from ...models.contract import Controls
from ..session.record import SessionRecord
from ..session.sample_row import SampleRow
from .records import Adoption, AnyRecord, Origin, Progress, Snapshot


class Journal:
    """Fed with records in their order; `adoption` and `whole` are what they come to.

    Of snapshots those are kept from which all chunks can be made again that a client may ask for.
    """

    def __init__(self) -> None:
        self.origin: Origin | None = None
        self.last: Progress | None = None
        self._snapshots: deque[Snapshot] = deque()
        self._controls: deque[Controls] = deque()
        self._first = 0
        """The step of the oldest controls."""
        self._rows: dict[int, int] = {}
        self._audio = np.zeros(0, np.int16)
        self._audio_end = 0
        self._original = SampleRow()

    @property
    def state(self) -> SessionRecord | None:
        """The newest state of the session."""
        return None if self.last is None else self.last.state

    @property
    def usable(self) -> bool:
        """Whether a stream can be gone on with from what is here."""
        return self.origin is not None and self.last is not None

    @property
    def controls(self) -> int:
        """How many chunks' controls are kept."""
        return len(self._controls)

    def take(self, record: AnyRecord) -> None:
        """Add a record. Raises ValueError for one that does not follow."""
        match record:
            case Origin():
                self.__init__()
                self.origin = record
            case Snapshot():
                self._snapshots.append(record)
            case Progress():
                self._take(record)
        self._forget()

    def _take(self, record: Progress) -> None:
        if not self._controls and self.last is None:
            self._first = record.first
        if record.first != self._first + len(self._controls):
            raise ValueError(
                f"controls of step {record.first} where {self._first + len(self._controls)} follows"
            )
        self._controls.extend(record.controls)
        self._rows |= record.rows
        audio = record.state.speech.audio
        if record.audio_from != self._audio_end or self.last is None:
            self._audio = self._audio[:0]
        self._audio = np.concatenate((self._audio, record.audio))
        self._audio_end = record.audio_from + len(record.audio)
        waiting = audio.end - audio.begin
        self._audio = self._audio[len(self._audio) - waiting :] if waiting else self._audio[:0]
        self._take_original(record)
        self.last = record

    def _take_original(self, record: Progress) -> None:
        """What the client sent: as much of it as the session has."""
        kept = record.state.speech.original
        for first, samples in record.original:
            self._original.add(samples, first)
        self._original.keep([] if kept is None else kept.held)

    def _forget(self) -> None:
        """What no chunk that is kept needs: snapshots behind older ones, and controls before."""
        if self.state is None:
            return
        oldest = self.state.ring[0].step if self.state.ring else self.state.steps
        while len(self._snapshots) > 1 and _shows(self._snapshots[1], oldest):
            self._snapshots.popleft()
        if self._snapshots and _shows(self._snapshots[0], oldest):
            while self._first <= self._snapshots[0].behind and self._controls:
                self._controls.popleft()
                self._rows.pop(self._first, None)
                self._first += 1

    def whole(self) -> list[AnyRecord]:
        """The records that a journal needs which has none yet."""
        assert self.origin is not None and self.last is not None, "it is usable"
        return [self.origin, *self._snapshots, self._progress(self._first)]

    def adoption(
        self, after_seq: int, *, epoch: int, generation: int = -1, alone: bool = False
    ) -> Adoption:
        """What another server needs to go on behind frame `after_seq`."""
        assert self.origin is not None and self.state is not None, "it is usable"
        wanted = shown_from(self.state, after_seq)
        before = [each for each in self._snapshots if _shows(each, wanted)]
        snapshot = before[-1] if before else None
        first = self._first if snapshot is None else snapshot.behind + 1
        return Adoption(
            origin=self.origin,
            snapshot=snapshot,
            progress=self._progress(first),
            after_seq=after_seq,
            generation=max(generation, self.state.generation),
            epoch=epoch,
            alone=alone,
        )

    def _progress(self, first: int) -> Progress:
        assert self.last is not None, "it is usable"
        last, audio = self.last, self.last.state.speech.audio
        return Progress(
            first=first,
            controls=list(self._controls)[first - self._first :],
            rows=dict(self._rows),
            state=last.state,
            audio_from=audio.begin,
            audio=self._audio,
            original=self._original.since(0),
            share_epoch=last.share_epoch,
            heard=last.heard,
            unacted=last.unacted,
            brought=last.brought,
            film=last.film,
        )


def _shows(snapshot: Snapshot, step: int) -> bool:
    """Whether a step that is made from it may be shown."""
    return max(snapshot.behind + 1, snapshot.shown_from) <= step


def shown_from(state: SessionRecord, after_seq: int) -> int:
    """The first step whose chunk has to be there for who has seen all up to frame `after_seq`."""
    kept = (each.step for each in state.ring if each.first_seq + each.frames > after_seq + 1)
    return next(kept, state.steps)
