"""A server's side of a stream's journal: it notes what happens, and says it to who is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from ...models.contract import Controls
from ..protocol.fields import MovieKind
from ..session.client_speech import SpeechRecord
from ..session.session import Session
from .journal import Journal
from .records import AnyRecord, Origin, Progress, Snapshot, pack_record

EVERY_S = 0.5
"""So often at most what a client said is written down without a chunk."""


class JournalWriter:
    """The journal of one stream and what of it waits to be sent; at most one gateway has it."""

    def __init__(self, origin: Origin, first: int = 0) -> None:
        """`first` is the first step that is begun here."""
        self._journal = Journal()
        self._journal.take(origin)
        self._first = first
        self._begun: list[Controls] = []
        self._rows: dict[int, int] = {}
        self._audio_told = self._original_told = 0
        self._attached = self._brought = False
        self._unsent: deque[bytes] = deque()
        self._said = False
        self._wrote_s = 0.0
        self.heard = 0
        """Messages of the present connection that were acted on, but for the `unacted`."""
        self.unacted: dict[str, int] = {}
        """Those that wait for something, by their event_id."""

    def take_over(self, record: Snapshot | Progress) -> None:
        """A record of the server that had the stream before."""
        self._journal.take(record)
        if isinstance(record, Progress):
            self._first = record.first + len(record.controls)
            self._tell(record.state.speech)
            self._brought = record.brought

    def attach(self) -> None:
        """Somebody is there who knows nothing yet."""
        self._attached, self.heard = True, 0
        self.unacted.clear()
        self._unsent.clear()
        if self._journal.usable:
            self._unsent.extend(map(pack_record, self._journal.whole()))

    def detach(self) -> None:
        """Nobody is there."""
        self._attached = False
        self._unsent.clear()

    @property
    def waiting(self) -> bool:
        """Whether there is something to be sent."""
        return bool(self._unsent)

    def take(self) -> bytes | None:
        """What is sent next, before anything that the session has to send."""
        return self._unsent.popleft() if self._unsent else None

    def hear(self) -> None:
        """A message of the client came."""
        self.heard += 1

    def said(self) -> None:
        """It changed something."""
        self._said = True

    def waits(self, event_id: str) -> None:
        """The message that came last waits for something."""
        self.unacted[event_id] = self.heard

    def acted(self, event_id: str) -> None:
        """One that waited was acted on."""
        self.unacted.pop(event_id, None)

    def begin(self, controls: Controls) -> None:
        """A step is begun with these."""
        self._begun.append(controls)
        shown = controls.picture is not None or controls.image is not None
        self._brought |= shown or len(controls.video) > 0

    def came(self, step: int, rows: int) -> None:
        """A step came back, out of a batch of so many rows."""
        if rows > 1:
            self._rows[step] = rows

    def saved(
        self,
        behind: int,
        parts: Mapping[str, bytes],
        shown_from: int = 0,
        *,
        small: bool = True,
    ) -> None:
        """The executor has a snapshot behind this step; see `Snapshot`."""
        self._add(Snapshot(behind, dict(parts), shown_from, small))

    def due(self, now_s: float) -> bool:
        """Whether something was said that should be written down without waiting for a chunk."""
        return self._said and now_s - self._wrote_s >= EVERY_S

    def write(
        self,
        session: Session,
        share_epoch: int,
        now_s: float,
        *,
        film: MovieKind | None = None,
    ) -> None:
        """Note where the session is; what it says from here on follows from that."""
        state = session.record(now_s)
        begin = max(self._audio_told, state.speech.audio.begin)
        audio = session.audio_from(begin)
        self._add(
            Progress(
                first=self._first,
                controls=self._begun,
                rows=self._rows,
                state=state,
                audio_from=begin,
                audio=np.array(audio),
                original=session.original_from(self._original_told),
                share_epoch=share_epoch,
                heard=self.heard,
                unacted=list(self.unacted.values()),
                brought=self._brought,
                film=film,
            )
        )
        self._first += len(self._begun)
        self._begun, self._rows = [], {}
        self._tell(state.speech)
        self._said, self._wrote_s = False, now_s

    def _tell(self, speech: SpeechRecord) -> None:
        """All sound up to there is in the journal."""
        self._audio_told = speech.audio.end
        self._original_told = 0 if speech.original is None else speech.original.end

    def _add(self, record: AnyRecord) -> None:
        self._journal.take(record)
        if self._attached:
            self._unsent.append(pack_record(record))
