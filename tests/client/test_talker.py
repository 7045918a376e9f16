"""Speech that comes faster than it is spoken, over real sockets: fed in time, and cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from rollcast.client import Audio, Frame, Stream, connect
from rollcast.client.messages import AudioEnd, Outgoing, ServerMessage, Speech
from rollcast.client.pacer import Pacer
from rollcast.client.talker import Spoken, Talker, Utterance
from rollcast.client.wire import Packet

from ..server.running import running, until

RATE = 24_000


def tone(seconds: float, hz: float = 440) -> np.ndarray:
    return (9_000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)).astype(np.int16)


@asynccontextmanager
async def talking(heard: list[Audio]) -> AsyncIterator[tuple[Stream, Talker]]:
    """A stream that is listened to in real time, as an adapter does."""

    async def listen(stream: Stream) -> None:
        pacer = Pacer()
        async for media in stream:
            if isinstance(media, Frame):
                await pacer.wait(media.pts_us)
            else:
                heard.append(media)

    async with running() as server, connect(server.http, audio_rate=RATE, pace="reader") as stream:
        talker = Talker(stream)
        tasks = [asyncio.create_task(listen(stream)), asyncio.create_task(talker.run())]
        try:
            yield stream, talker
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def say(talker: Talker, samples: np.ndarray, rate: int = RATE) -> Utterance:
    """All at once, as a fast voice gives it."""
    utterance = talker.begin(rate)
    for piece in np.array_split(samples, max(1, len(samples) // 480)):
        utterance.write(piece)
    utterance.end()
    return utterance


async def test_two_at_once_are_spoken_one_after_the_other() -> None:
    heard: list[Audio] = []
    async with talking(heard) as (stream, talker):
        first, second = say(talker, tone(1.6)), say(talker, tone(0.4)[::3], RATE // 3)
        empty = talker.begin(RATE)
        empty.end()
        await asyncio.sleep(0.4)
        state = stream.state
        assert state is None or state.queued_audio_ms <= 1_300  # not all of what was written
        one, two, none = [await each.over for each in (first, second, empty)]
    assert (one.is_cut, two.is_cut, none.is_cut) == (False, False, False)
    assert one.played_ms == pytest.approx(1_600, abs=2)
    assert two.played_ms == pytest.approx(400, abs=2)
    assert none.played_ms == 0
    assert two.pts_us - one.pts_us >= 399_000


async def test_an_interruption_cuts_all_that_is_not_over() -> None:
    heard: list[Audio] = []
    async with talking(heard) as (stream, talker):
        speaking, waiting = say(talker, tone(6)), say(talker, tone(1))
        await asyncio.wait_for(speaking.started.wait(), 25)
        begun_us = stream.position_us
        await until(lambda: stream.position_us > begun_us + 300_000)
        until_us = await talker.interrupt()
        speaking.write(tone(1))  # more of it comes, and is of no use any more
        one, two = await speaking.over, await waiting.over
        assert (one.is_cut, two.is_cut, two.played_ms) == (True, True, 0)
        assert 300 <= one.played_ms <= (until_us - begun_us) / 1e3 + 100
        later = say(talker, tone(0.3))
        assert (await later.over).played_ms == pytest.approx(300, abs=2)
        quiet = [each for each in heard if one.pts_us + 40_000 < each.pts_us < until_us]
        assert not any(each.samples.any() for each in quiet)
        await until(lambda: not talker._listeners)


def test_what_is_heard_is_less_than_what_was_shown_to_the_server() -> None:
    spoken = Spoken(played_ms=500, pts_us=2e6, is_cut=True)
    assert spoken.heard_ms(2e6) == spoken.heard_ms(3e6) == 500
    assert spoken.heard_ms(1.9e6) == 400
    assert spoken.heard_ms(0) == 0


@pytest.mark.parametrize("arrives", [True, False])
async def test_what_was_fed_is_not_cut_when_the_connection_goes_at_its_end(arrives: bool) -> None:
    async with talking([]) as (stream, talker):
        channel = stream._channel
        send = channel.send

        async def send_and_lose(message: Outgoing | bytes) -> None:
            if isinstance(message, AudioEnd):
                if arrives:
                    await send(message)
                await channel.close()
            await send(message)

        channel.send = send_and_lose
        spoken = await asyncio.wait_for(say(talker, tone(0.6)).over, 60)
        assert stream.reconnects == 1
        assert (spoken.is_cut, spoken.played_ms) == (False, pytest.approx(600, abs=2))
        assert (await asyncio.wait_for(say(talker, tone(0.3)).over, 60)).played_ms == 300


async def test_an_end_that_was_told_to_a_lost_connection_is_asked_for() -> None:
    async with talking([]) as (stream, talker):
        channel = stream._channel
        receive, lost = channel.receive, []

        async def receive_or_lose() -> ServerMessage | Packet:
            message = await receive()
            if isinstance(message, Speech) and message.phase == "ended":
                lost.append(message)
                await channel.close()
                return await receive()
            return message

        channel.receive = receive_or_lose
        spoken = await asyncio.wait_for(say(talker, tone(0.6)).over, 60)
        assert lost and stream.reconnects == 1
        assert (spoken.is_cut, spoken.played_ms) == (False, pytest.approx(600, abs=2))
        # and the next one is told of as ever
        assert (await asyncio.wait_for(say(talker, tone(0.3)).over, 60)).played_ms == 300
