"""A stream from end to end over a real WebSocket, with the test pattern."""

import asyncio
from typing import Any

import numpy as np
import pytest

from rollcast.models.test_pattern import CHUNK_SAMPLES, prompt_colour, read_barcode
from rollcast.server.protocol.packets import Flags

from ..running import Viewer, decode, resume_message, running, settled, until, viewing

LOUD = np.full(CHUNK_SAMPLES, 8000, np.int16)
YELLOW = (250, 220, 40)


def band(picture: np.ndarray) -> np.ndarray:
    return picture[10:22, 4:124].reshape(-1, 3).mean(axis=0)


async def pictures_of_chunk(viewer: Viewer, chunk: int) -> list[np.ndarray]:
    await viewer.wait_chunk(chunk + 1)
    packets = [packet for packet in viewer.video if packet.chunk == chunk]
    return list(decode("jpeg", packets).values())


@pytest.mark.parametrize("codec", ["h264", "vp8", "jpeg"])
async def test_frames_arrive_in_order_and_show_what_was_painted(codec: str) -> None:
    async with running() as server, viewing(server.ws, codecs=(codec,)) as viewer:
        await viewer.wait_frames(24)
        video = viewer.video
        assert viewer.ready["codec"] == codec
        assert [packet.seq for packet in video] == list(range(len(video)))
        assert [packet.pts_us for packet in video] == [40_000 * n for n in range(len(video))]
        assert [packet.chunk for packet in video] == [n // 4 for n in range(len(video))]
        assert Flags.KEY in video[0].flags
        last = [Flags.LAST_OF_CHUNK in packet.flags for packet in video[:8]]
        assert last == [False, False, False, True] * 2
        shown = viewer.frames()
        assert len(shown) == len(video)
        assert all(read_barcode(picture) == seq for seq, picture in shown.items())
        expected = prompt_colour("a red wall")
        np.testing.assert_allclose(band(shown[5]), expected, atol=6)


async def test_hello_describes_models_codecs_and_limits() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        (model,) = viewer.hello["models"]
        assert model["name"] == "test-pattern"
        assert (model["width"], model["height"], model["fps"]) == (128, 128, 25)
        inputs = model["inputs"]
        assert [scene["name"] for scene in inputs["scenes"]] == ["bars", "grid"]
        assert inputs["speech"] == {"sample_rate": 16_000, "lookahead_ms": 160}
        assert inputs["tracks"] == {"max_tracks": 16}
        assert "image" not in inputs
        assert viewer.hello["codecs"] == ["h264", "vp8", "jpeg"]
        assert viewer.hello["limits"]["max_points"] == 64


async def test_the_client_chooses_the_codec_by_its_order() -> None:
    async with running() as server, viewing(server.ws, codecs=("av1", "vp8", "h264")) as viewer:
        assert viewer.ready["codec"] == "vp8"


async def test_a_prompt_changes_the_picture_from_the_applied_chunk_on() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_chunk(3)
        applied = await viewer.control("prompt", text="a blue wall")
        assert applied["type"] == "applied"
        assert applied["chunk"] <= viewer.shown_chunk + 2
        assert applied["pts_us"] == applied["chunk"] * 160_000
        before = await pictures_of_chunk(viewer, applied["chunk"] - 1)
        after = await pictures_of_chunk(viewer, applied["chunk"])
        np.testing.assert_allclose(band(before[-1]), prompt_colour("red"), atol=6)
        np.testing.assert_allclose(band(after[0]), prompt_colour("blue"), atol=6)


async def test_controls_reach_the_viewer_within_two_chunks() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_chunk(2)
        lags: list[int] = []
        for number in range(9):
            await asyncio.sleep(0.05 + 0.02 * number)
            shown = viewer.shown_chunk
            applied = await viewer.control("seed", seed=number)
            assert applied["chunk"] <= viewer.shown_chunk + 2
            lags.append(applied["chunk"] - shown)
        # All, on an idle machine; a busy one may hold up the message itself.
        assert sorted(lags)[len(lags) // 2] <= 2


async def test_a_drag_moves_the_disc_in_the_next_chunk() -> None:
    async with running() as server, viewing(server.ws, scene="grid") as viewer:
        await viewer.wait_chunk(1)
        await viewer.control("tracks", points=[{"id": 1, "phase": "down", "x": 0.2, "y": 0.5}])
        applied = await viewer.control(
            "tracks", points=[{"id": 1, "phase": "move", "x": 0.8, "y": 0.5}]
        )
        picture = (await pictures_of_chunk(viewer, applied["chunk"]))[-1]
        x = round(0.8 * 127)
        np.testing.assert_allclose(picture[60:66, x - 2 : x + 3].mean((0, 1)), YELLOW, atol=12)


async def test_speech_comes_back_with_its_frames_exactly_as_sent() -> None:
    speech = np.arange(4 * CHUNK_SAMPLES, dtype=np.int16) + 2000
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_chunk(1)
        await viewer.speak(speech)
        await viewer.control("audio.end")
        talking = await viewer.wait_message(lambda m: m["type"] == "state" and m["talking"])
        assert talking["type"] == "state"
        await viewer.wait_state(talking=False)
        heard = np.concatenate([np.frombuffer(each.payload, "<i2") for each in viewer.audio])
        start = int(np.flatnonzero(heard)[0])
        np.testing.assert_array_equal(heard[start : start + len(speech)], speech)
        by_chunk = {packet.chunk: packet for packet in viewer.audio}
        firsts = {packet.chunk: packet for packet in reversed(viewer.video)}
        assert all(firsts[chunk].pts_us == by_chunk[chunk].pts_us for chunk in firsts)


async def test_received_comes_before_talking() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_chunk(1)
        await viewer.speak(np.tile(LOUD, 3))
        await viewer.control("audio.end")
        await viewer.wait_state(talking=True)
        states = [message for message in viewer.messages if message["type"] == "state"]
        received = next(n for n, state in enumerate(states) if state["received"])
        talking = next(n for n, state in enumerate(states) if state["talking"])
        assert received < talking
        assert states[received]["queued_audio_ms"] > 0


async def test_barge_in_silences_everything_not_played() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_chunk(1)
        await viewer.speak(np.tile(LOUD, 20))
        await viewer.wait_message(lambda m: m["type"] == "state" and m["talking"])
        count = len(viewer.packets)
        said_us = viewer.playhead_us
        applied = await viewer.control("audio.clear")
        assert said_us - 150_000 < applied["position_us"] < viewer.playhead_us + 150_000
        await viewer.wait_chunk(applied["chunk"] + 2)
        later = [p for p in viewer.audio if viewer.packets.index(p) > count + 8]
        assert later and not any(np.frombuffer(p.payload, "<i2").any() for p in later)
        assert any(Flags.DISCONTINUITY in packet.flags for packet in viewer.audio)
        states = [message for message in viewer.messages if message["type"] == "state"]
        assert not states[-1]["talking"] and states[-1]["queued_audio_ms"] == 0


async def test_a_stream_without_audio_gets_none() -> None:
    async with running() as server, viewing(server.ws, audio=False) as viewer:
        await viewer.wait_frames(8)
        assert not viewer.audio


async def test_pause_stops_media_time_and_resume_goes_on_without_a_gap() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(8)
        await viewer.control("pause")
        viewer.playing = False
        count = await settled(lambda: len(viewer.video))
        viewer.start_us, viewer.started_s = viewer.playhead_us, None
        await viewer.control("resume")
        viewer.playing = True
        viewer.started_s = asyncio.get_running_loop().time()
        await viewer.wait_frames(count + 12)
        assert [p.pts_us for p in viewer.video] == [40_000 * n for n in range(len(viewer.video))]


async def test_a_reset_with_a_seed_equals_a_new_stream_with_it() -> None:
    async with running() as server:
        async with viewing(server.ws, seed=3) as viewer:
            await viewer.wait_chunk(2)
            applied = await viewer.control("reset", seed=9)
            again = await pictures_of_chunk(viewer, applied["chunk"])
            first = next(p for p in viewer.video if p.chunk == applied["chunk"])
            assert Flags.DISCONTINUITY in first.flags
        async with viewing(server.ws, seed=9) as viewer:
            fresh = await pictures_of_chunk(viewer, 0)
    np.testing.assert_array_equal(again, fresh)


async def test_a_scene_change_is_answered_with_the_scene() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        applied = await viewer.control("scene", scene="grid")
        assert applied["scene"] == "grid"
        state = await viewer.wait_message(lambda m: m["type"] == "state" and m["scene"] == "grid")
        assert state["scene"] == "grid"


async def test_a_key_frame_comes_when_asked_for_and_not_before() -> None:
    async with running() as server, viewing(server.ws, codecs=("h264",)) as viewer:
        await viewer.wait_frames(12)
        assert [p.seq for p in viewer.video if Flags.KEY in p.flags] == [0]
        count = len(viewer.video)
        await viewer.say("key")
        await viewer.wait(lambda: any(Flags.KEY in p.flags for p in viewer.video[count:]))
        key = next(n for n, p in enumerate(viewer.video) if n >= count and Flags.KEY in p.flags)
        assert key - count <= 8
        await viewer.wait_frames(key + 3)
        shown = decode("h264", viewer.video[key:])
        assert read_barcode(shown[viewer.video[key].seq]) == viewer.video[key].seq


async def test_stats_and_pong() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.say("ping", t_ms=12.5)
        pong = await viewer.wait_message(lambda m: m["type"] == "pong")
        assert pong["t_ms"] == 12.5
        stats = await viewer.wait_message(lambda m: m["type"] == "stats" and m["chunk"] > 8)
        # a busy machine makes up for what it was late
        assert 0 < stats["fps"] < 100
        assert 0 < stats["rtf"] < 1
        assert stats["sessions"] == 1
        assert viewer.video[-1].server_ms - pong["server_ms"] < 5000


async def test_the_server_does_not_run_ahead_of_a_viewer_that_stops() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(8)
        await viewer.stop_acks()
        count = await settled(lambda: len(viewer.video))
        assert count * 40_000 - viewer.playhead_us < 1_000_000


async def test_two_streams_never_see_each_others_state() -> None:
    async with (
        running() as server,
        viewing(server.ws, prompt="red") as a,
        viewing(server.ws, prompt="blue", scene="grid") as b,
    ):
        await a.control("prompt", text="yellow")
        applied = await b.control("seed", seed=5)
        mine = (await pictures_of_chunk(b, applied["chunk"]))[0]
        np.testing.assert_allclose(band(mine), prompt_colour("blue"), atol=6)
        assert a.ready["session_id"] != b.ready["session_id"]


async def test_a_cut_connection_goes_on_at_the_frame_after_the_last_one_shown() -> None:
    async with running() as server:
        async with viewing(server.ws, codecs=("h264",)) as first:
            await first.wait_frames(24)
            message = resume_message(first)
            await first.leave()
        async with viewing(server.ws, codecs=("h264",), resume=message) as second:
            assert second.ready["resumed"]
            assert second.ready["generation"] == first.ready["generation"] + 1
            assert second.ready["next_seq"] == message["last_seq"] + 1
            await second.wait_frames(20)
            video = second.video
            assert [p.seq for p in video] == [
                message["last_seq"] + 1 + n for n in range(len(video))
            ]
            assert Flags.KEY in video[0].flags
            shown = second.frames()
            assert all(read_barcode(picture) == seq for seq, picture in shown.items())
            audio_start_us = second.audio[0].pts_us
            assert audio_start_us == video[0].pts_us


async def test_a_stream_can_be_taken_over_while_its_old_socket_still_hangs() -> None:
    async with running() as server, viewing(server.ws) as first:
        await first.wait_frames(8)
        async with viewing(server.ws, resume=resume_message(first)) as second:
            assert second.ready["resumed"]
            assert await first.wait_closed() == 4409
            await second.wait_frames(8)


async def test_generation_stops_while_nobody_watches() -> None:
    async with running() as server:
        async with viewing(server.ws) as viewer:
            await viewer.wait_frames(8)
        (stream,) = server.engine.streams
        await settled(lambda: stream.session.chunks)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"resume_token": "guess"}, "wrong_resume_token"),
        ({"session_id": "other"}, "unknown_session"),
        ({"last_seq": 4_000_000}, "invalid_field"),
    ],
)
async def test_a_false_resume_is_refused(change: dict[str, Any], code: str) -> None:
    async with running() as server:
        async with viewing(server.ws) as viewer:
            await viewer.wait_frames(4)
        message = {**resume_message(viewer), **change}
        async with viewing(server.ws, resume=message, acks=False) as refused:
            assert refused.ready["type"] == "error"
            assert refused.ready["code"] == code
            await refused.say("session.create")
            ready = await refused.wait_message(lambda m: m["type"] == "session.ready")
            assert not ready["resumed"]


async def test_after_the_grace_time_the_stream_is_gone() -> None:
    async with running(grace_s=0.2) as server:
        async with viewing(server.ws) as viewer:
            await viewer.wait_frames(4)
        assert len(server.engine.streams) == 1
        await until(lambda: not server.engine.streams)
        async with viewing(server.ws, resume=resume_message(viewer), acks=False) as late:
            assert late.ready["code"] == "session_expired"


async def test_session_close_frees_the_stream_at_once() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(4)
        await viewer.say("session.close")
        assert await viewer.wait_closed() == 1000
        assert not server.engine.streams
