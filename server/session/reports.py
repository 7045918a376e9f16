"""What a session tells its client about itself: the state when it changes, figures every second."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol.server_messages import State, Stats, StreamParked, StreamQuality
from .quality import Quality
from .rates import Rates

STATS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The session's figures at one moment."""

    chunk: int
    lead_us: float
    target_kbps: int
    skipped_frames: int
    sessions: int
    queued_audio_ms: int
    video_frames: int | None = None
    video_dropped: int | None = None
    quality: Quality
    parked: StreamParked | None = None


class Reports:
    """Remembers what the client was told."""

    def __init__(self, now_s: float) -> None:
        self._state: State | None = None
        self.rates = Rates(now_s)

    def restart(self, now_s: float) -> None:
        """A new connection knows nothing."""
        self._state = None
        self.rates = Rates(now_s)

    def changed(self, state: State) -> bool:
        """Whether anything but the figures of the state is new to the client."""
        if self._state is not None and _what(state) == _what(self._state):
            return False
        self._state = state
        return True

    def due(self, now_s: float) -> bool:
        """Whether `stats` should be sent now."""
        return now_s - self.rates.since_s >= STATS_EVERY_S

    def stats(self, now: Now, now_s: float) -> Stats:
        """The figures since the last ones."""
        figures, self.rates = self.rates.figures(now_s), self.rates.following(now_s)
        return Stats(
            chunk=now.chunk,
            fps=round(figures.fps, 2),
            lead_ms=round(now.lead_us / 1e3, 1),
            chunk_time_ms=round(figures.step_s * 1e3, 2),
            rtf=round(figures.rtf, 4),
            kbps=round(figures.kbps, 1),
            target_kbps=float(now.target_kbps),
            skipped_frames=now.skipped_frames,
            sessions=now.sessions,
            queued_audio_ms=now.queued_audio_ms,
            video_frames=now.video_frames,
            video_dropped=now.video_dropped,
            quality=StreamQuality(level=now.quality.level, why=now.quality.why),
            parked=now.parked,
        )


def _what(state: State) -> tuple[bool, bool, bool, str | None, list[str] | None]:
    return state.received, state.talking, state.paused, state.scene, state.ignored_words
