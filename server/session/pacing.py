"""When one stream generates, and which of its frames are worth encoding."""

from __future__ import annotations

import math

from ...models.contract import ModelInfo
from ..protocol.client_messages import Ack
from .link import Link
from .playhead_estimate import PlayheadEstimate

LATE_SHARE = 0.25


class Pacing:
    """Media time of one stream: generated, sent, and on the viewer's screen."""

    def __init__(self, info: ModelInfo, *, max_lead_chunks: float, max_kbps: int) -> None:
        self._info = info
        self._max_kbps = max_kbps
        self._permitted_kbps: int | None = None
        self._playhead = PlayheadEstimate(chunk_us=info.chunk_us, max_lead_chunks=max_lead_chunks)
        self._link = Link(max_kbps=self._max_kbps)
        self._late = False
        self.frames = 0
        """Frames generated; the next one has this seq."""
        self._end_us = 0.0
        """Where the media ends that the viewer was or will be sent."""
        self._leaving_us = 0.0
        self.skipped_frames = 0

    @property
    def generated_us(self) -> float:
        """Media time of the frames that were generated."""
        return self._info.media_us(self.frames)

    @property
    def kbps(self) -> int:
        """The bitrate that the encoder should aim for."""
        return self._link.kbps

    @property
    def extra_lead_us(self) -> float:
        """What the viewer's lead is larger by because it has stalled."""
        return self._playhead.extra_us

    def position_us(self, now_s: float) -> float:
        """Media time on the viewer's screen."""
        return self._playhead.position_us(now_s, self.generated_us)

    def lead_us(self, now_s: float) -> float:
        """How much the viewer can show before running dry."""
        return self._end_us - self.position_us(now_s)

    def next_step_s(self, now_s: float, under_way: int = 0) -> float | None:
        """When the next chunk may be begun, behind those under way; None: not before an ack."""
        if self._link.congested(self._max_lead_s, now_s):
            return None
        return self._playhead.next_step_s(now_s, self._end_us + under_way * self._info.chunk_us)

    def begin_early(self, early_s: float) -> None:
        """A lead that is larger by so much, until another is said."""
        self._playhead.early_us = early_s * 1e6

    def begin_sooner(self, chunks: float) -> None:
        """A lead that is larger by so many chunks, until another is said."""
        self._playhead.more_us = chunks * self._info.chunk_us

    def load(self, frames: int, skipped_frames: int, extra_lead_us: float) -> None:
        """So many frames were generated and skipped elsewhere, where the lead grew by so much."""
        self.frames, self.skipped_frames = frames, skipped_frames
        self._playhead.load(extra_lead_us)
        self._end_us = self.generated_us

    def generated(self, frames: int, now_s: float) -> None:
        """Another chunk, of so many frames, is there."""
        self._late = self.lead_us(now_s) < LATE_SHARE * self._info.chunk_us
        self.frames += frames
        self._end_us = self.generated_us

    def ack(self, ack: Ack, now_s: float) -> None:
        """The client has said what it shows."""
        stalls = self._playhead.ack(ack.playhead_us, now_s, self.generated_us)
        passed_seq = math.floor(ack.playhead_us * self._info.fps / 1e6 + 1e-6) - 1
        self._link.ack(ack, passed_seq, now_s)
        if stalls and not self._late:
            self._link.stalled(now_s)

    def limit(self, max_kbps: int) -> None:
        """Another highest bitrate."""
        self._max_kbps = max_kbps
        self._link.limit(self._most_kbps)

    def permit(self, kbps: int | None) -> None:
        """The way to the viewer carries so much, and None: anything, as far as is known."""
        if kbps != self._permitted_kbps:
            self._permitted_kbps = kbps
            self._link.limit(self._most_kbps)

    def leave_out(self, waiting_frames: int) -> None:
        """A frame is not sent; the viewer cannot play up to one that it will never get."""
        if not waiting_frames:
            self._end_us = self._leaving_us

    def admit(self, seq: int, waiting_frames: int, now_s: float) -> bool:
        """Whether to encode this frame; if not, it is skipped and counted."""
        if not self._link.skip(self._max_lead_s, self._info.chunk_frames, now_s):
            self._leaving_us = self._info.media_us(seq + 1)
            return True
        self.skipped_frames += 1
        self.leave_out(waiting_frames)
        return False

    def sent(self, seq: int, now_s: float) -> None:
        """A frame was handed to the socket."""
        self._link.sent(seq, now_s)

    def lost(self) -> None:
        """The client starts again from a key frame: nothing is under way."""
        self._link.forget()

    def tick(self, now_s: float) -> None:
        """Let time pass."""
        self._link.adapt(self._max_lead_s, now_s)

    def pause(self, now_s: float) -> None:
        """Media time stands still."""
        self._playhead.pause(now_s, self.generated_us)

    def resume(self, now_s: float) -> None:
        """Media time goes on."""
        self._playhead.resume(now_s)
        self._link.forget()

    def restart(self, seq: int, position_us: float | None = None) -> None:
        """A new connection shows the stream from this frame on.

        `position_us` is on the screen where its viewer never left, and has frames before this one.
        """
        self._permitted_kbps = None
        self._link = Link(max_kbps=self._max_kbps)
        begin_us = self._info.media_us(seq)
        self._playhead.restart(begin_us if position_us is None else min(position_us, begin_us))
        self._leaving_us, self._end_us = self._info.media_us(seq), self.generated_us

    @property
    def _most_kbps(self) -> int:
        return min(self._max_kbps, self._permitted_kbps or self._max_kbps)

    @property
    def _max_lead_s(self) -> float:
        return self._playhead.max_lead_us / 1e6
