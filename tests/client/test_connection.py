"""The client against the real server with the test-pattern model, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from rollcast.client import Audio, Frame, Refused, Rejected, Stream, TrackPoint, connect, watch
from rollcast.client.messages import Codec
from rollcast.models.test_pattern import prompt_colour, read_barcode
from rollcast.server.protocol.errors import Timeout

from ..pictures import BLUE, RED, portrait
from ..server.other_models import FIRST, USUAL, BarePattern, CausalPattern
from ..server.running import RunningServer, running, until
from ..server.web.slow_proxy import slow_proxy
from ..server.world_pattern import HEIGHT, PROMPTS, WIDTH, WorldPattern


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running() as started:
        yield started


async def take(stream: Stream, count: int) -> list[Frame]:
    frames: list[Frame] = []
    async for frame in stream.frames():
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


def band_colour(frame: Frame) -> np.ndarray:
    return frame.image[14:18, 20:108].mean(axis=(0, 1))


@pytest.mark.parametrize("codec", ["h264", "vp8", "jpeg"])
async def test_frames_come_whole_and_in_order(server: RunningServer, codec: Codec) -> None:
    async with connect(server.http, codecs=(codec,), pace="reader") as stream:
        frames = await take(stream, 30)
        assert stream.ready.codec == codec
    assert [frame.seq for frame in frames] == list(range(30))
    assert [read_barcode(frame.image) for frame in frames] == list(range(30))
    assert [frame.pts_us for frame in frames] == [seq * 40_000.0 for seq in range(30)]
    assert [frame.is_last_of_chunk for frame in frames[:8]] == 2 * [False, False, False, True]


async def test_a_clock_shows_in_real_time(server: RunningServer) -> None:
    loop = asyncio.get_running_loop()
    async with connect(server.http) as stream:
        await take(stream, 1)
        start_s = loop.time()
        await take(stream, 20)
        assert 0.7 < loop.time() - start_s < 1.6


async def test_a_clock_runs_on_without_a_reader(server: RunningServer) -> None:
    async with connect(server.http) as stream:
        applied = await stream.prompt("a green wall")
        while stream.position_us < applied.pts_us + 200_000:
            await asyncio.sleep(0.02)
        assert applied.chunk >= 0


async def test_a_prompt_is_shown_from_the_chunk_it_was_applied_to(server: RunningServer) -> None:
    async with connect(server.http, prompt="a red wall", pace="reader", codecs=("jpeg",)) as stream:
        reading = asyncio.create_task(take(stream, 60))
        applied = await stream.prompt("a blue wall")
        frames = await reading
    for frame in frames:
        wanted = prompt_colour("a blue wall" if frame.chunk >= applied.chunk else "a red wall")
        assert np.abs(band_colour(frame) - wanted).max() < 30, frame.seq


async def test_speech_comes_back_with_its_frames(server: RunningServer) -> None:
    tone = (9000 * np.sin(np.arange(8000) * 0.2)).astype(np.int16)
    heard: list[Audio] = []
    async with connect(server.http) as stream:
        saying = asyncio.create_task(stream.say(tone))
        async for media in stream:
            if isinstance(media, Audio):
                heard.append(media)
            if media.pts_us > 1_400_000:
                break
        await saying
    sound = np.concatenate([audio.samples for audio in heard])
    assert np.abs(sound).max() == np.abs(tone).max()
    begin = int(np.flatnonzero(sound)[0]) - 1
    assert np.array_equal(sound[begin : begin + len(tone)], tone)
    assert heard[1].pts_us - heard[0].pts_us == 160_000


async def test_every_control_is_answered(server: RunningServer) -> None:
    async with connect(server.http) as stream:
        down = TrackPoint(id=1, phase="down", x=0.2, y=0.8)
        assert (await stream.scene("grid")).scene == "grid"
        await stream.tracks([down, TrackPoint(id=1, phase="up", x=0.5, y=0.5)])
        await stream.clear_tracks()
        await stream.end_audio()
        assert (await stream.clear_audio()).position_us is not None
        await stream.pause()
        await stream.resume()
        await stream.seed(5)
        await stream.reset(seed=6)


async def test_pictures_are_shown_from_the_start_or_later(server: RunningServer) -> None:
    def behind(frame: Frame) -> np.ndarray:
        return frame.image[40:120, 4:12].mean(axis=(0, 1))

    async with connect(server.http, picture=portrait(RED), pace="reader") as stream:
        assert stream.ready.scene == "picture" and stream.ready.has_picture
        assert stream.hello.models[0].inputs.picture is not None
        reading = asyncio.create_task(take(stream, 60))
        applied = await stream.picture(portrait(BLUE))
        frames = await reading
    assert applied.scene == "picture" and applied.chunk < 15
    for frame in frames:
        wanted = BLUE if frame.chunk >= applied.chunk else RED
        assert np.abs(behind(frame) - wanted).max() < 40, frame.seq


async def test_rejections_have_code_field_and_cure(server: RunningServer) -> None:
    async with connect(server.http) as stream:
        with pytest.raises(Rejected, match="nowhere") as caught:
            await stream.scene("nowhere")
        assert (caught.value.code, caught.value.field) == ("unknown_scene", "scene")
        assert caught.value.hint
        await take(stream, 4)


async def test_refusals_raise_before_the_block() -> None:
    async with running(max_sessions=1, token="secret") as server:
        with pytest.raises(Refused) as unauthorized:
            async with connect(server.http, token="wrong"):
                pass
        assert unauthorized.value.code == "unauthorized"
        async with connect(server.http, token="secret"):
            with pytest.raises(Refused) as full:
                async with connect(server.http, token="secret"):
                    pass
        assert full.value.code == "capacity"
        assert full.value.retry_after_s


async def test_a_connection_that_timed_out_is_replaced(server: RunningServer) -> None:
    async with connect(server.http, pace="reader", codecs=("jpeg",)) as stream:
        await take(stream, 4)
        (hosted,) = server.engine.streams
        hosted.session.fail(Timeout("nothing was heard for a while"))
        hosted.notify()
        frames = await take(stream, 30)
        assert stream.reconnects == 1
        assert [frame.seq for frame in frames] == list(range(4, 34))


async def test_who_feeds_speech_does_not_notice_a_lost_connection(server: RunningServer) -> None:
    async with connect(server.http, pace="reader", codecs=("jpeg",)) as stream:
        await take(stream, 4)
        closing = asyncio.create_task(stream._channel.close())  # pyright: ignore[reportPrivateUsage]
        await asyncio.sleep(0)  # it cannot be sent on any more, and is not known to be lost
        await stream.feed(np.zeros(320, np.int16))
        await closing
        await take(stream, 30)
        assert stream.reconnects == 1


async def test_a_lost_connection_goes_on_at_the_next_frame(server: RunningServer) -> None:
    async with (
        slow_proxy(server.port) as proxy,
        connect(f"127.0.0.1:{proxy.port}", pace="reader", codecs=("h264",)) as stream,
    ):
        before = await take(stream, 10)
        proxy.cut()
        after = await take(stream, 30)
        assert stream.reconnects == 1
        assert stream.ready.resumed
        assert stream.ready.next_seq >= 10
    assert [frame.seq for frame in before + after] == list(range(40))
    assert [read_barcode(frame.image) for frame in before + after] == list(range(40))


async def test_a_server_that_ends_the_stream_ends_the_reading(server: RunningServer) -> None:
    async with (
        slow_proxy(server.port) as proxy,
        connect(f"127.0.0.1:{proxy.port}") as stream,
    ):
        await take(stream, 2)
        server.engine.close(stream.ready.session_id)
        proxy.cut()
        with pytest.raises(Refused) as ended:
            await take(stream, 1000)
    assert ended.value.code == "session_expired"


async def test_leaving_frees_the_stream_at_once(server: RunningServer) -> None:
    async with connect(server.http) as stream:
        await take(stream, 2)
        assert len(server.engine.streams) == 1
    await until(lambda: not server.engine.streams)


async def test_without_decoding_there_are_sizes_but_no_images(server: RunningServer) -> None:
    async with connect(server.http, decode=False) as stream:
        (frame,) = await take(stream, 1)
        assert frame.bytes > 100
        with pytest.raises(ValueError, match="decode=True"):
            _ = frame.image


async def test_packets_can_be_sent_on_and_a_key_frame_asked_for(server: RunningServer) -> None:
    async with connect(server.http, decode="encoded", codecs=("h264",), lead_chunks=1.2) as stream:
        (session,) = (each.session for each in server.engine.streams)
        assert session.options.max_lead_chunks < server.engine.config.max_lead_chunks
        first, second = await take(stream, 2)
        assert (first.is_key, second.is_key) == (True, False)
        assert first.data.startswith(b"\0\0\0\1") and len(first.data) == first.bytes
        await stream.key()
        assert any(frame.is_key for frame in await take(stream, 20))


async def test_a_token_to_speak_by_lets_nobody_watch(server: RunningServer) -> None:
    async with connect(server.http) as stream:
        token = await stream.share_microphone(60)
        with pytest.raises(Refused, match="not that of a share link"):
            async with watch(f"{server.http}/#watch={token}"):
                pass


async def test_a_stream_of_chunks_of_several_lengths_is_read_frame_by_frame() -> None:
    async with (
        running(lambda: [CausalPattern()]) as server,
        connect(server.http, pace="reader") as stream,
    ):
        frames: list[Frame] = []
        heard = 0
        async for media in stream:
            if isinstance(media, Frame):
                frames.append(media)
            else:
                assert media.pts_us == pytest.approx(heard * 1e6 / 16_000)
                heard += len(media.samples)
            if len(frames) == FIRST + 2 * USUAL:
                break
        assert [frame.seq for frame in frames] == list(range(len(frames)))
        assert all(frame.pts_us == frame.seq * 40_000 for frame in frames)
        ends = [frame.seq for frame in frames if frame.is_last_of_chunk]
        assert ends == [FIRST - 1, FIRST + USUAL - 1, FIRST + 2 * USUAL - 1]


async def test_a_model_that_only_runs_gives_frames_and_refuses_the_rest() -> None:
    async with (
        running(lambda: [BarePattern()], models=("bare",)) as server,
        connect(server.http, pace="reader") as stream,
    ):
        assert stream.ready.scene is None and stream.ready.sample_rate is None
        assert stream.hello.models[0].inputs.prompt is None
        async for media in stream:
            assert isinstance(media, Frame)
            if media.seq == 8:
                break
        with pytest.raises(Rejected, match="takes no prompt, only seed"):
            await stream.prompt("a wall")


async def test_speech_at_the_callers_rate_is_heard(server: RunningServer) -> None:
    tone = (9000 * np.sin(np.arange(12_000) * 0.2)).astype(np.int16)
    async with connect(server.http, audio_rate=24_000, pace="reader") as stream:
        assert stream.audio_rate == stream.ready.sample_rate == 24_000
        saying = asyncio.create_task(stream.say(tone))
        sound: list[np.ndarray] = []
        async for media in stream:
            if not isinstance(media, Frame):
                sound.append(media.samples)
            if saying.done() and media.pts_us > 1.5e6:
                break
        await saying
    loud = np.flatnonzero(np.abs(np.concatenate(sound).astype(int)) > 2000)
    assert loud[-1] - loud[0] == pytest.approx(12_000, abs=60)
    heard = np.concatenate(sound)
    assert np.array_equal(heard[heard != 0], tone[tone != 0])


async def test_image_camera_and_video_are_shown() -> None:
    blue = np.array(prompt_colour(PROMPTS[1]))
    async with (
        running(lambda: [WorldPattern()], models=("world",)) as server,
        connect(server.http, image=portrait(RED), prompt=PROMPTS[1]) as stream,
    ):
        (frame,) = await take(stream, 1)
        assert stream.ready.has_image and frame.image.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(frame.image[30:60, 2:8].mean(axis=(0, 1)) - RED).max() < 40
        await stream.camera(forward=0.5, yaw=-10)
        info = await stream.query()
        assert info.camera is not None
        assert (info.camera.translation, info.camera.rotation) == ((0, 0, 0.5), (0, -10, 0))
        await stream.camera()
        await stream.image(portrait(BLUE))
        with pytest.raises(Rejected) as caught:
            await stream.camera(forward=9)
        assert caught.value.field == "translation[2]"
        green = np.full((HEIGHT, WIDTH, 3), (40, 180, 60), np.uint8)
        tint = (blue + np.array([40, 180, 60])) / 2
        for _ in range(40):
            await stream.feed_video(green)
            (frame,) = await take(stream, 1)
            seen = frame.image[40:60, 60:100].mean(axis=(0, 1))
            if np.abs(seen - tint).max() < 30:
                break
        else:
            pytest.fail("the video was never seen")
        while stream.stats is None or not stream.stats.video_frames:
            await take(stream, 1)
