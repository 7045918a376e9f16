"""Over a real socket: chunks of several lengths, models without this or that, other audio rates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from multiprocessing.connection import wait
from typing import Any

import numpy as np
import pytest

from rollcast.models.pipeline.events import Event, Finished
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.test_pattern import CHUNK_SAMPLES, TestPattern, read_barcode
from rollcast.server.engine.model_host import ModelHost
from rollcast.server.protocol.packets import Flags, Packet

from ..other_models import FIRST, USUAL, BarePattern, CausalPattern, YuvPattern
from ..running import resume_message, running, viewing


def lengths(video: list[Packet]) -> list[int]:
    """Frames of each chunk but the last, which may not be complete."""
    return [len(list(group)) for _, group in groupby(packet.chunk for packet in video)][:-1]


async def test_frames_are_counted_through_chunks_of_several_lengths() -> None:
    async with running(lambda: [CausalPattern()]) as server, viewing(server.ws) as viewer:
        assert viewer.ready["chunk_frames"] == USUAL
        await viewer.wait_frames(FIRST + 2 * USUAL + 1)
        video = viewer.video
        assert lengths(video)[:3] == [FIRST, USUAL, USUAL]
        assert [packet.seq for packet in video] == list(range(len(video)))
        assert all(packet.pts_us == packet.seq * 40_000 for packet in video)
        assert all(read_barcode(picture) == seq for seq, picture in viewer.frames().items())
        sound = [packet for packet in viewer.audio if packet.chunk < 3]
        assert [len(p.payload) // 2 // (CHUNK_SAMPLES // 4) for p in sound] == [FIRST, USUAL, USUAL]
        assert [packet.pts_us for packet in sound] == [0, 160_000, 640_000]


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
async def test_planes_are_shown_as_rgb_is(codec: str) -> None:
    shown: list[np.ndarray] = []
    for model in (TestPattern, YuvPattern):
        async with (
            running(lambda model=model: [model()]) as server,
            viewing(server.ws, codecs=(codec,), seed=3) as viewer,
        ):
            await viewer.wait_frames(6)
            frames = viewer.frames()
            assert all(read_barcode(picture) == seq for seq, picture in frames.items())
            shown.append(np.stack([frames[seq] for seq in range(6)]).astype(int))
            encoder = {"h264": "libx264", "jpeg": "libjpeg-turbo"}[codec]
            assert [stream.session.encoder for stream in server.engine.streams] == [encoder]
    apart = np.abs(shown[0] - shown[1]).mean(axis=(1, 2, 3))
    # codecs make more of a step here and there; wrong colours are 4 apart
    assert apart.max() < 2, apart


async def test_a_reset_gives_a_short_chunk_in_the_middle() -> None:
    async with running(lambda: [CausalPattern()]) as server, viewing(server.ws) as viewer:
        await viewer.wait_chunk(1)
        applied = await viewer.control("reset")
        await viewer.wait_chunk(applied["chunk"] + 2)
        counted = lengths(viewer.video)
        assert counted[applied["chunk"]] == FIRST
        assert counted[applied["chunk"] + 1] == USUAL
        assert applied["pts_us"] == 40_000 * sum(counted[: applied["chunk"]])
        first = next(p for p in viewer.video if p.chunk == applied["chunk"])
        assert Flags.DISCONTINUITY in first.flags
        assert [packet.seq for packet in viewer.video] == list(range(len(viewer.video)))


async def test_a_resume_in_the_middle_of_a_long_chunk_goes_on_with_the_next_frame() -> None:
    async with running(lambda: [CausalPattern()]) as server:
        async with viewing(server.ws) as viewer:
            await viewer.wait_frames(FIRST + 5)
        last_seq = FIRST + 2
        message = resume_message(viewer, last_seq)
        async with viewing(server.ws, resume=message) as again:
            await again.wait_frames(USUAL)
            assert again.ready["next_seq"] == last_seq + 1
            seqs = [packet.seq for packet in again.video]
            assert seqs == list(range(last_seq + 1, last_seq + 1 + len(seqs)))
            assert all(read_barcode(image) == seq for seq, image in again.frames().items())


async def test_a_model_that_only_runs_is_a_stream_like_any() -> None:
    async with (
        running(lambda: [BarePattern()], models=("bare",)) as server,
        viewing(server.ws) as viewer,
    ):
        (model,) = viewer.hello["models"]
        assert model["inputs"] == {"seed": True} and "sample_rate" not in model
        assert "scene" not in viewer.ready and "sample_rate" not in viewer.ready
        await viewer.wait_frames(24)
        assert not viewer.audio
        assert all(packet.pts_us == packet.seq * 50_000 for packet in viewer.video)
        state = next(m for m in viewer.messages if m["type"] == "state")
        assert "scene" not in state
        refused = await viewer.control("prompt", text="a wall")
        assert (refused["code"], refused["message"]) == (
            "not_supported",
            "bare takes no prompt, only seed",
        )
        assert (await viewer.control("seed", seed=3))["type"] == "applied"


async def test_speech_at_another_rate_is_heard_in_time() -> None:
    async with running() as server, viewing(server.ws, audio_rate=24_000) as viewer:
        await viewer.wait_chunk(1)
        tone = (8000 * np.sin(np.arange(24_000) * 2 * np.pi * 400 / 24_000)).astype(np.int16)
        await viewer.speak(tone)
        await viewer.control("audio.end")
        await viewer.wait(lambda: heard(viewer.audio) > 23_900 and not loud(viewer.audio[-1]))
        # one second of the tone at the client's rate, to within the quiet samples of a sine
        assert abs(heard(viewer.audio) - 24_000) < 75


def loud(packet: Packet) -> bool:
    return bool(np.frombuffer(packet.payload, "<i2").any())


def heard(packets: list[Packet]) -> int:
    """From the first to the last sample that is not silence."""
    sound = np.concatenate([np.frombuffer(p.payload, "<i2") for p in packets] or [np.zeros(0)])
    places = np.flatnonzero(np.abs(sound.astype(int)) > 100)
    return int(places[-1] - places[0]) if len(places) else 0


async def test_a_packet_too_long_for_its_rate_is_refused() -> None:
    async with running() as server, viewing(server.ws, audio_rate=8_000) as viewer:
        await viewer.speak(np.zeros(8_001, np.int16), piece=8_001)
        error = await viewer.wait_message(lambda m: m["type"] == "error")
        assert (error["code"], error["field"]) == ("too_large", "payload")
        assert "8000 samples at 8000 Hz" in error["message"]


async def test_an_impossible_rate_is_named() -> None:
    async with running() as server, viewing(server.ws, acks=False, audio_rate=96_000) as viewer:
        (error,) = viewer.messages
        assert (error["code"], error["field"], error["fatal"]) == (
            *("invalid_field", "audio_rate", False),
        )


class SilentAboutClosed(Sequential):
    """Tells of a chunk some time after it was submitted, unless its stream was closed meanwhile."""

    LATE_S = 0.2

    def poll(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Event]:
        wait(list(others), min(timeout_s, 0.02))
        now_s = time.monotonic()
        due = [each for each in self._events if now_s - _made_s(each) >= self.LATE_S]
        self._events = [each for each in self._events if each not in due]
        return due

    def close(self, stream: str) -> None:
        super().close(stream)
        self._events = [each for each in self._events if getattr(each, "stream", None) != stream]


def _made_s(event: Event) -> float:
    return event.spans[0].end_s if isinstance(event, Finished) else 0.0


async def test_a_stream_that_is_closed_while_a_chunk_is_under_way_blocks_no_other() -> None:
    host = ModelHost("test-pattern", lambda: SilentAboutClosed(TestPattern()))
    async with running(hosts=[host]) as server:
        for _ in range(2):
            async with viewing(server.ws) as viewer:
                await viewer.wait_frames(4)
                await viewer.say("session.close")
                await viewer.wait_closed()
