"""Beats come in time, with their sound, also where frames were skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rollcast.client.beats import Beat, beats
from rollcast.client.pacer import Pacer
from rollcast.client.shown import Audio, Frame
from rollcast.client.sound_line import SoundLine

FPS, RATE = 100, 16_000
FRAME_US = 1e6 / FPS
PIECE = RATE // FPS


class Came:
    """A stream that has all of this already."""

    ready = SimpleNamespace(fps=FPS)

    def __init__(self, *media: Frame | Audio) -> None:
        self._media = media

    async def __aiter__(self) -> AsyncIterator[Frame | Audio]:
        for each in self._media:
            yield each


def frame(number: int) -> Frame:
    return Frame(number, number * FRAME_US, 0, False, False, False, 0, 0, 0, None)


async def all_of(*media: Frame | Audio) -> list[Beat]:
    came: Any = Came(*media)
    return [beat async for beat in beats(came, SoundLine(RATE), Pacer())]


async def test_sound_goes_on_in_time_where_frames_were_skipped() -> None:
    samples = np.repeat(np.arange(1, 7, dtype=np.int16), PIECE)
    sound = Audio(0, 0.0, 0, False, samples, RATE)
    start_s = asyncio.get_running_loop().time()
    came = await all_of(sound, frame(0), frame(1), frame(5))
    assert [each.frame and each.frame.seq for each in came] == [0, 1, None, None, None, 5]
    assert [set(each.sound) for each in came] == [{1}, {2}, {3}, {4}, {5}, {6}]
    gaps = np.diff([each.due_s for each in came])
    assert gaps.min() >= 1 / FPS - 1e-9
    assert came[0].due_s >= start_s


async def test_a_leap_of_media_time_is_not_filled() -> None:
    came = await all_of(frame(0), frame(500), frame(501))
    assert len(came) == 3
    assert came[2].due_s - came[1].due_s == pytest.approx(1 / FPS, abs=0.02)
