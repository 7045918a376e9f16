"""A stream in time, beat by beat: each frame when it is due, and the sound beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from .connection import Stream
from .pacer import Pacer
from .shown import Audio, Frame
from .sound_line import SoundLine

LEAP_US = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Beat:
    """What is shown and heard from `due_s` of the loop's clock on, for as long as a frame lasts.

    `frame` is None where the server has skipped one; `sound` is int16 [n].
    """

    frame: Frame | None
    sound: np.ndarray
    due_s: float


async def beats(
    stream: Stream, line: SoundLine, pacer: Pacer, *, ahead_us: float = 0.0
) -> AsyncIterator[Beat]:
    """The beats of a stream with `pace="reader"`, each when it is due and never in a burst.

    Sound goes through `line`, up to `ahead_us` before its time. Raises what ends the stream.
    """
    frame_us = 1e6 / stream.ready.fps
    next_us: float | None = None
    async for media in stream:
        if isinstance(media, Audio):
            line.add(media)
            continue
        pts_us = media.pts_us
        if next_us is None or not 0 <= pts_us - next_us < LEAP_US:
            next_us = pts_us
            pacer.restart()
        # frames that never come hold their sound up in no way
        while next_us < pts_us - frame_us / 2:
            await pacer.wait(next_us)
            sound = line.take(next_us, next_us + frame_us, ahead_us)
            yield Beat(None, sound, pacer.due_s(next_us))
            next_us += frame_us
        await pacer.wait(pts_us)
        next_us = pts_us + frame_us
        yield Beat(media, line.take(pts_us, next_us, ahead_us), pacer.due_s(pts_us))
