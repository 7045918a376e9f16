"""What the way to one client carries: when to skip frames, and which bitrate to ask for."""

from __future__ import annotations

import math
from collections import deque

from ..protocol.client_messages import Ack
from ..protocol.limits import ACK_INTERVAL_MS, MIN_KBPS

MAX_UNACKED = 512
DELAY_WINDOW_S = 10.0
MAX_DELAY_S = 0.4
SLACK_S = 0.1
LOWER_EVERY_S = 0.4
RAISE_EVERY_S = 2.0
RAISE_AFTER_S = 4.0
SKIP_STEP = 0.15
MAX_SKIP_SHARE = 0.75
LOST_AFTER_S = 2.0
HEARD_WITHIN_S = 1.0


def default_kbps(width: int, height: int, fps: int) -> int:
    """A bitrate at which small pictures still look clean: it grows with the root of the pixels."""
    return round(32 * math.sqrt(width * height * fps / 1000))


class Link:
    """Frames sent and acknowledged on one connection.

    Frames are skipped before they are encoded, which breaks no reference. When playback stalls,
    the bitrate is lowered and a growing share of the frames is skipped, evenly. The link is
    congested when the oldest frame that was sent and not settled is older than the quickest one
    lately was, plus the time a frame may rightly wait (the permitted lead and the ack interval);
    then all frames are skipped until it is not. A frame is settled when it was drawn, when the
    playhead has passed it, or when the client says that it dropped it. A client that goes on
    acknowledging and settles nothing for `LOST_AFTER_S` will never settle what is under way.
    """

    def __init__(self, *, max_kbps: int, min_kbps: int = MIN_KBPS) -> None:
        self._max_kbps = max_kbps
        self._least_kbps = min_kbps
        self._min_kbps = min(min_kbps, max_kbps)
        self._unacked: deque[tuple[int, float]] = deque()
        self._delays: deque[tuple[float, float]] = deque()
        self._decode_queue = 0
        self._dropped = 0
        self._settled_s = self._acked_s = -math.inf
        self._skip_share = 0.0
        self._skip_debt = 0.0
        self._trouble_s = -math.inf
        self._changed_s = -math.inf
        self.kbps = max_kbps

    def sent(self, seq: int, now_s: float) -> None:
        """A frame was handed to the socket."""
        if len(self._unacked) == MAX_UNACKED:
            self._unacked.popleft()
        self._unacked.append((seq, now_s))

    def ack(self, ack: Ack, passed_seq: int, now_s: float) -> None:
        """The client has drawn `last_seq`, and the time of `passed_seq` is over on its screen."""
        self._decode_queue = ack.decode_queue
        self._acked_s = now_s
        newly_dropped, self._dropped = max(0, ack.dropped - self._dropped), ack.dropped
        settled = max(ack.last_seq, passed_seq)
        while self._unacked and self._unacked[0][0] <= settled:
            seq, sent_s = self._unacked.popleft()
            self._settled_s = now_s
            if seq == ack.last_seq:
                self._note_delay(now_s - sent_s, now_s)
        for _ in range(min(newly_dropped, len(self._unacked))):
            self._unacked.popleft()
            self._settled_s = now_s
        if self._unacked and now_s - max(self._settled_s, self._unacked[0][1]) > LOST_AFTER_S:
            self.forget()

    def limit(self, max_kbps: int) -> None:
        """Another highest bitrate; a link that had no trouble goes there at once."""
        untroubled = self.kbps == self._max_kbps
        self._max_kbps, self._min_kbps = max_kbps, min(self._least_kbps, max_kbps)
        self.kbps = max_kbps if untroubled else min(self.kbps, max_kbps)

    def forget(self) -> None:
        """Count nothing as under way: the client paused, or asked to start from a key frame."""
        self._unacked.clear()
        self._decode_queue = 0

    def waiting_s(self, now_s: float) -> float:
        """Age of the oldest frame under way."""
        return now_s - self._unacked[0][1] if self._unacked else 0.0

    def limit_s(self, max_lead_s: float) -> float:
        """The age at which a frame under way is late."""
        quickest_s = min((delay for delay, _ in self._delays), default=0.1)
        return min(quickest_s, MAX_DELAY_S) + max_lead_s + ACK_INTERVAL_MS / 1000 + SLACK_S

    def congested(self, max_lead_s: float, now_s: float) -> bool:
        """Whether the next frame should be skipped."""
        return self.waiting_s(now_s) > self.limit_s(max_lead_s)

    def skip(self, max_lead_s: float, chunk_frames: int, now_s: float) -> bool:
        """Whether to skip the next frame; counts on being asked once per frame."""
        overloaded = self._decode_queue > 2 * chunk_frames
        self._skip_debt += max(self._skip_share, 0.5 if overloaded else 0.0)
        if self.congested(max_lead_s, now_s):
            return True
        if self._skip_debt < 1:
            return False
        self._skip_debt -= 1
        return True

    def stalled(self, now_s: float) -> None:
        """Playback stalls and this link is why: ask less of it."""
        self._trouble_s = now_s
        if now_s - self._changed_s >= LOWER_EVERY_S:
            if self.kbps < 0.7 * self._max_kbps:
                self._skip_share = min(MAX_SKIP_SHARE, self._skip_share + SKIP_STEP)
            self._set(self.kbps * 0.75, now_s)

    def adapt(self, max_lead_s: float, now_s: float) -> None:
        """Let time pass: ask less while congested, and more again when all was well."""
        if self.congested(max_lead_s, now_s):
            # From a client that says nothing nothing can be learnt about its link.
            if now_s - self._acked_s < HEARD_WITHIN_S:
                self.stalled(now_s)
            return
        calm = now_s - self._trouble_s >= RAISE_AFTER_S
        if calm and now_s - self._changed_s >= RAISE_EVERY_S:
            if self._skip_share > 0:
                self._skip_share = max(0.0, self._skip_share - SKIP_STEP)
                self._changed_s = now_s
            else:
                self._set(self.kbps * 1.1, now_s)

    def _set(self, kbps: float, now_s: float) -> None:
        self.kbps = round(min(self._max_kbps, max(self._min_kbps, kbps)))
        self._changed_s = now_s

    def _note_delay(self, delay_s: float, now_s: float) -> None:
        """Keep the minimum of a sliding window: values in rising order."""
        while self._delays and self._delays[-1][0] >= delay_s:
            self._delays.pop()
        self._delays.append((delay_s, now_s))
        while now_s - self._delays[0][1] > DELAY_WINDOW_S:
            self._delays.popleft()
