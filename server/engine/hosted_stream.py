"""A session and whoever shows it, as the engine holds them."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..audience.audience import Audience
from ..handover.writer import JournalWriter
from ..metrics import Metrics
from ..protocol.errors import StreamError
from ..protocol.fields import MovieKind
from ..session.quality import Quality
from ..session.session import Session
from ..stream_log.consents import Consent
from .parking_lot import Where
from .prompt_desk import PromptDesk


class Viewer(Protocol):
    """A connection, as the engine sees it."""

    def notify(self) -> None:
        """There may be something to send."""
        ...

    def end(self, error: StreamError) -> None:
        """Say so and close, without touching the session any more."""
        ...


class HostedStream:
    """A session and the connection that shows it, if there is one."""

    def __init__(self, session: Session, model: str, audience: Audience, client: str = "") -> None:
        self.session = session
        self.audience = audience
        self.model = model
        """The name of the model that makes it."""
        self.client = client
        """Whose quota it counts for."""
        self.viewer: Viewer | None = None
        self.prompts: PromptDesk | None = None
        """Where its prompts wait to be read, if its model's have to be."""
        self.recorded = Consent(written=False)
        """What is written down of it."""
        self.film: MovieKind | None = None
        """As what its client lets it be filmed, if it does."""
        self.journal: JournalWriter | None = None
        """What a fleet's gateway is told of it."""
        self.epoch = 0
        """How often it was given to another server: who comes with a smaller one is late."""
        self.whole = asyncio.Event()
        """Set unless chunks are still made again that another server had made."""
        self.whole.set()
        self.gone = False
        """Whether another server has it now."""
        self.parked: Where | None = None
        """Where it lies without a place; None: it has its place."""
        self.returns = False
        """Whether its next chunk is the first one since it was parked."""
        self._counted_skips = 0
        self._counted_underruns = 0
        self._counted_cuts = self._counted_unseen = 0

    @property
    def session_id(self) -> str:
        """Its name."""
        return self.session.options.session_id

    def change_quality(self, quality: Quality) -> None:
        """Give up as much as this, for its client and for those who watch it."""
        self.session.change_quality(quality)
        self.audience.change_quality(quality)

    def count(self, metrics: Metrics) -> None:
        """Bring the session's own counts into the metrics."""
        skips, underruns = self.session.skipped_frames, self.session.underruns
        metrics.frames_skipped.inc(skips - self._counted_skips)
        metrics.audio_underruns.inc(underruns - self._counted_underruns)
        self._counted_skips, self._counted_underruns = skips, underruns
        cuts, unseen = self.audience.cuts, self.audience.skipped_frames
        metrics.viewer_cuts.inc(cuts - self._counted_cuts)
        metrics.frames_skipped.inc(unseen - self._counted_unseen)
        self._counted_cuts, self._counted_unseen = cuts, unseen

    def write(self, now_s: float) -> None:
        """Bring the journal up to now, if there is one."""
        if self.journal is not None and self.session.missing is None:
            self.journal.write(self.session, self.audience.epoch, now_s, film=self.film)

    def notify(self) -> None:
        """Tell the connection to look for output."""
        if self.viewer is not None:
            self.viewer.notify()
