"""Utterances, Opus and changes in mid-stream with the client, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import numpy as np
import pytest

from rollcast.client import Audio, Frame, Rejected, Stream, connect
from rollcast.client.messages import AudioCodec
from rollcast.models.test_pattern import read_barcode

from ..server.running import RunningServer, running

TONE = (9_000 * np.sin(2 * np.pi * 440 * np.arange(12_000) / 16_000)).astype(np.int16)


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running() as started:
        yield started


async def listen(stream: Stream, heard: list[Audio]) -> None:
    async for media in stream:
        if isinstance(media, Audio):
            heard.append(media)


def loud_us(heard: list[Audio]) -> tuple[float, float]:
    """When the first and the last loud sample is heard."""
    times = [
        each.pts_us + np.flatnonzero(np.abs(each.samples.astype(int)) > 3_000) * 1e6 / each.rate
        for each in heard
    ]
    loud = np.concatenate(times)
    return float(loud.min()), float(loud.max())


@pytest.mark.parametrize("codec", ["pcm", "opus"])
async def test_an_utterance_is_heard_where_it_is_told(
    server: RunningServer, codec: AudioCodec
) -> None:
    heard: list[Audio] = []
    async with connect(server.http, audio_codec=codec) as stream:
        assert stream.ready.audio_codec == codec
        listening = asyncio.create_task(listen(stream, heard))
        await stream.say(TONE, item_id="answer")
        over = await stream.spoken("answer")
        await asyncio.sleep(0.3)
        listening.cancel()
    assert over.phase == "ended"
    whole_ms = 750 if codec == "pcm" else 760  # 38 packets of 20 ms
    assert over.played_ms == whole_ms
    first_us, last_us = loud_us(heard)
    slack_us = 1_000 if codec == "pcm" else 20_000
    assert over.pts_us - whole_ms * 1e3 == pytest.approx(first_us, abs=slack_us)
    assert last_us == pytest.approx(first_us + 750_000, abs=slack_us)
    assert heard[0].rate == (16_000 if codec == "pcm" else 48_000)


async def test_after_barge_in_nothing_more_is_heard(server: RunningServer) -> None:
    heard: list[Audio] = []
    async with connect(server.http) as stream:
        listening = asyncio.create_task(listen(stream, heard))
        speaking = asyncio.create_task(stream.say(np.tile(TONE, 8), item_id="long"))
        while not any(np.abs(each.samples).max(initial=0) > 3_000 for each in heard):
            await asyncio.sleep(0.02)
        begun_us = loud_us(heard)[0]
        while stream.position_us < begun_us + 300_000:
            await asyncio.sleep(0.02)
        answer = await stream.clear_audio()
        at = len(heard)
        over = await stream.spoken("long")
        assert (over.phase, answer.item_id, answer.played_ms) == ("cleared", "long", over.played_ms)
        assert over.played_ms > 0
        speaking.cancel()  # what `say` still sent behind the clear is another matter
        await asyncio.sleep(0.4)
        listening.cancel()
        assert answer.pts_us >= over.pts_us
    for each in heard[at:]:
        if each.pts_us < answer.pts_us:
            assert np.abs(each.samples).max(initial=0) == 0


async def test_the_video_changes_its_size_and_rate(server: RunningServer) -> None:
    frames: list[Frame] = []

    async def watch(stream: Stream) -> None:
        async for frame in stream.frames():
            frames.append(frame)

    async with connect(server.http, codecs=("h264",), max_width=64) as stream:
        assert (stream.ready.width, stream.ready.height) == (64, 64)
        watching = asyncio.create_task(watch(stream))
        answer = await stream.video(max_width=128, max_fps=5, max_kbps=250)
        info = await stream.query()
        assert (info.width, info.max_fps, info.max_kbps) == (128, 5, 250)
        while not frames or frames[-1].pts_us < answer.pts_us + 2_000_000:
            await asyncio.sleep(0.05)
        watching.cancel()
    for frame in frames:
        assert frame.image.shape[:2] == ((64, 64) if frame.pts_us < answer.pts_us else (128, 128))
    wide = [frame for frame in frames if frame.pts_us >= answer.pts_us]
    assert wide[0].is_key
    assert {b.seq - a.seq for a, b in pairwise(wide)} == {5}
    assert all(read_barcode(frame.image) == frame.seq for frame in wide)


async def test_a_control_waits_for_its_time(server: RunningServer) -> None:
    async with connect(server.http) as stream:
        waiting = asyncio.create_task(stream.seed(3, at_us=1_000_000))
        await asyncio.sleep(0.2)
        assert (await stream.query()).waiting == ["1"]
        answer = await waiting
        assert answer.pts_us == 1_120_000  # the first chunk of 160 ms behind it
        assert (await stream.query()).seed == 3


async def test_a_false_utterance_is_refused(server: RunningServer) -> None:
    async with connect(server.http) as stream:
        await stream.begin_audio("a")
        with pytest.raises(Rejected) as caught:
            await stream.begin_audio("a")
        assert caught.value.field == "item_id"
