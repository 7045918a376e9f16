"""A stream shown in a room: frames and their sound handed over in time, and silence when cut."""

from __future__ import annotations

import asyncio
from typing import Protocol

import numpy as np

from ..beats import beats
from ..connection import Stream
from ..pacer import Pacer
from ..shown import Frame
from ..sound_line import SoundLine

AHEAD_US = 40_000.0
"""Sound is handed over so much before its time, for a queue that must not run dry."""
LOOK_EVERY_S = 0.01


class Tracks(Protocol):
    """Where it goes: a queue of sound that plays by itself, and frames that are shown at once."""

    @property
    def queued_us(self) -> float:
        """How much of the sound was not played."""
        ...

    async def play(self, samples: np.ndarray) -> None:
        """Queue int16 mono."""
        ...

    def drop(self) -> None:
        """Drop what is queued."""
        ...

    def show(self, frame: Frame, now_s: float) -> None:
        """Show an encoded frame, which is due at this moment of the loop's clock."""
        ...


class Playout:
    """Hands a stream with `decode="encoded"` and `pace="reader"` over to `tracks`."""

    def __init__(self, stream: Stream, tracks: Tracks) -> None:
        self._stream = stream
        self._tracks = tracks
        self._line = SoundLine(stream.ready.sample_rate or stream.audio_rate)
        self._dropped = 0
        """Samples that were dropped and for which no silence was queued yet."""
        self._mutes = 0

    @property
    def heard_us(self) -> float:
        """Media time that is heard now, before what the network and its receivers hold back."""
        dropped_us = self._dropped * 1e6 / self._line.rate
        return max(0.0, self._line.position_us - self._tracks.queued_us - dropped_us)

    async def run(self) -> None:
        """Go on until the stream ends. Raises what ended it."""
        await self._stream.key()
        began = False
        async for beat in beats(self._stream, self._line, Pacer(), ahead_us=AHEAD_US):
            # in place of what was dropped, so that what follows is heard beside its frames
            silence, self._dropped = np.zeros(self._dropped, np.int16), 0
            if len(silence) or len(beat.sound):
                await self._tracks.play(np.concatenate((silence, beat.sound)))
            began = began or (beat.frame is not None and beat.frame.is_key)
            if beat.frame is not None and began:
                self._tracks.show(beat.frame, beat.due_s)

    async def reach(self, pts_us: float) -> None:
        """Return when the sound up to this media time is over."""
        while self.heard_us < pts_us:
            await asyncio.sleep(LOOK_EVERY_S)

    def mute(self) -> float:
        """Silence at once, until `unmute`; returns the media time that was heard last."""
        heard_us = self.heard_us
        self._mutes += 1
        self._line.mute(None)
        self._dropped += round(self._tracks.queued_us * self._line.rate / 1e6)
        self._tracks.drop()
        return heard_us

    def unmute(self, pts_us: float) -> None:
        """Sound from this media time on is heard, unless another `mute` still holds."""
        self._mutes -= 1
        if not self._mutes:
            self._line.mute(pts_us)
