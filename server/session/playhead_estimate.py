"""Where the viewer is in media time, and how far ahead of it the server may generate."""

from __future__ import annotations

EXTRAPOLATE_S = 0.3
MAX_RATE = 1.02
SLACK_US = 500_000.0
STALL_US = 60_000.0
FORGET_PER_S = 0.5
EXTRA_STEP_US = 80_000.0
MAX_EXTRA_US = 240_000.0
EXTRA_DECAY_US_PER_S = 4_000.0
# Before the first ack no control can be late, but a long path may run dry until it comes.
START_CHUNKS = 2


class PlayheadEstimate:
    """The client's playhead, extrapolated between its acks, and the lead it permits.

    A client that claims to play faster than real time is not believed, so it cannot make the
    server work faster. When playback stalls, the path may be long or unsteady, and the permitted
    lead grows a little; it shrinks again over time.
    """

    def __init__(self, *, chunk_us: float, max_lead_chunks: float) -> None:
        self._chunk_us = chunk_us
        self._base_lead_us = max_lead_chunks * chunk_us
        self._extra_us = 0.0
        self.early_us = 0.0
        """What is added to the lead so that streams take turns."""
        self.more_us = 0.0
        """What is added to it while the server is busy."""
        self._slack_us = SLACK_US
        self._stalled_us = 0.0
        self._acked_us = 0.0
        self._acked_s: float | None = None
        self._running = True

    @property
    def max_lead_us(self) -> float:
        """The largest lead after a step."""
        return self._base_lead_us + self._extra_us + self.early_us + self.more_us

    @property
    def extra_us(self) -> float:
        """What stalls have added to the lead."""
        return self._extra_us

    def load(self, extra_us: float) -> None:
        """Stalls elsewhere have added so much."""
        self._extra_us = min(MAX_EXTRA_US, max(0.0, extra_us))

    def ack(self, playhead_us: float, now_s: float, generated_us: float) -> bool:
        """The client shows `playhead_us` now; true when it stalls and more lead did not help."""
        reported_us = min(playhead_us, generated_us)
        if self._acked_s is None:
            self._acked_us, self._acked_s = max(self._acked_us, reported_us), now_s
            return False
        elapsed_us = (now_s - self._acked_s) * 1e6
        permitted_us = elapsed_us * MAX_RATE + self._slack_us
        advance_us = min(max(0.0, reported_us - self._acked_us), permitted_us)
        self._slack_us = min(SLACK_US, permitted_us - advance_us)
        self._acked_us += advance_us
        self._acked_s = now_s
        return self._running and self._stalls(elapsed_us, advance_us)

    def pause(self, now_s: float, generated_us: float) -> None:
        """Media time stands still from now on."""
        self._acked_us = self.position_us(now_s, generated_us)
        self._running = False

    def resume(self, now_s: float) -> None:
        """Media time goes on."""
        self._running = True
        self._stalled_us = 0.0
        if self._acked_s is not None:
            self._acked_s = now_s

    def restart(self, position_us: float) -> None:
        """A new connection will show media from `position_us` on; wait for its first ack."""
        self._acked_us, self._acked_s = position_us, None
        self._stalled_us = 0.0

    def position_us(self, now_s: float, generated_us: float) -> float:
        """Media time on the viewer's screen, as well as it can be known."""
        if self._acked_s is None or not self._running:
            return self._acked_us
        since_us = min(now_s - self._acked_s, EXTRAPOLATE_S) * 1e6
        return min(self._acked_us + since_us, max(generated_us, self._acked_us))

    def next_step_s(self, now_s: float, end_us: float) -> float | None:
        """When the next chunk may be begun, before now, now or later; None: not before an ack."""
        if not self._running:
            return None
        if self._acked_s is None:
            started = end_us + self._chunk_us - self._acked_us > START_CHUNKS * self._chunk_us
            return None if started else now_s
        excess_us = end_us + self._chunk_us - self.max_lead_us
        wait_us = excess_us - self.position_us(now_s, end_us)
        if wait_us > 0 and excess_us - self._acked_us > EXTRAPOLATE_S * 1e6:
            return None
        return now_s + wait_us / 1e6

    def _stalls(self, elapsed_us: float, advance_us: float) -> bool:
        self._extra_us = max(0.0, self._extra_us - EXTRA_DECAY_US_PER_S * elapsed_us / 1e6)
        forgotten = FORGET_PER_S ** (elapsed_us / 1e6)
        self._stalled_us = max(0.0, self._stalled_us * forgotten + elapsed_us - advance_us)
        if self._stalled_us < STALL_US:
            return False
        self._stalled_us = 0.0
        helpless = self._extra_us > MAX_EXTRA_US - EXTRA_STEP_US
        self._extra_us = min(MAX_EXTRA_US, self._extra_us + EXTRA_STEP_US)
        return helpless
