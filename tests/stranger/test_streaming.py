"""Sections 2 and 4 to 8 of docs/protocol.md."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import struct

import av
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from .client import (
    DISCONTINUITY,
    KEY,
    LAST,
    SOUND,
    VIDEO,
    Client,
    Message,
    Packet,
    connected,
    film,
    speech,
    token,
    watching,
)
from .conftest import Start

pytestmark = pytest.mark.slow

RATE = 16_000


def tone(seconds: float, rate: int = RATE) -> bytes:
    times = np.arange(round(seconds * rate)) / rate
    return (9_000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes()


async def talk(client: Client, seconds: float, rate: int = RATE) -> None:
    data, size = tone(seconds, rate), rate // 50 * 2
    for seq, begin in enumerate(range(0, len(data), size)):
        await client.send(speech(data[begin : begin + size], seq))


def loud_us(packets: list[Packet], rate: int = RATE) -> np.ndarray:
    """The times at which something is to be heard."""
    times = [
        packet.pts_us
        + np.flatnonzero(np.abs(np.frombuffer(packet.payload, "<i2").astype(int)) > 2_000)
        * 1e6
        / rate
        for packet in packets
    ]
    return np.concatenate([*times, np.zeros(0)])


def colour(packet: Packet) -> np.ndarray:
    """The middle of the band in the prompt's colour."""
    return simplejpeg.decode_jpeg(packet.payload)[14:18, 20:108].mean(axis=(0, 1))


async def test_others_watch_by_a_share_link(start: Start) -> None:
    secret = "sixteen-bytes-or-more"
    async with start(token=secret) as server, watching(server.ws, hello={"token": secret}) as own:
        assert own.hello["limits"]["max_viewers"] > 0
        shared = await own.reply({"type": "session.share", "event_id": "s", "expires_in_s": 60})
        assert (shared["type"], shared["event_id"]) == ("session.shared", "s")
        made = {
            **{"exp": shared["expires_s"], "scope": ["watch"], "epoch": 0},
            "session": own.ready["session_id"],
        }
        await own.play(0.5)
        for link in (shared["share_token"], token(secret, made)):
            async with connected(server.ws) as viewer:
                await viewer.greet(token=link)
                ready = await viewer.reply({"type": "session.watch", "event_id": "w"})
                assert (ready["type"], ready["event_id"]) == ("session.watching", "w")
                assert (ready["codec"], ready["fps"], ready["viewers"]) == ("jpeg", 25, 1)
                acking = asyncio.create_task(viewer.acknowledge())
                await viewer.until(lambda viewer=viewer: len(viewer.video()) >= 12)
                acking.cancel()
                seqs = [packet.seq for packet in viewer.video()]
                assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) and seqs[0] > 0
                assert viewer.video()[0].flags & KEY
                assert (await viewer.control("prompt", text="red"))["code"] == "read_only"
                await own.message(lambda said: said == {"type": "viewers", "count": 1})
                await viewer.say("session.close")
                assert (await viewer.until_closed())[0] == 1000
        await own.reply({"type": "session.share", "revoke": True, "expires_in_s": 0})
        async with connected(server.ws) as late:
            await late.greet(token=shared["share_token"])
            refusal = await late.reply({"type": "session.watch"})
            assert (refusal["code"], refusal["fatal"]) == ("session_expired", True)
            assert (await late.until_closed())[0] == 4400


async def test_packets_count_frames_and_time(url: str) -> None:
    async with watching(url) as client:
        await client.play(2)
        video, sound = client.video(), client.sound()
    seqs = [packet.seq for packet in video]
    assert seqs == sorted(set(seqs)) and seqs[0] == 0
    assert all(packet.pts_us == packet.seq * 1e6 / 25 for packet in video)
    assert all(packet.version == 1 and packet.generation == 0 for packet in client.packets)
    assert all(packet.flags & ~(KEY | DISCONTINUITY | LAST) == 0 for packet in client.packets)
    assert all(packet.flags & KEY for packet in video), "every JPEG is one"
    assert [packet.seq for packet in sound] == list(range(len(sound)))
    for before, after in itertools.pairwise(sound):
        assert after.pts_us == pytest.approx(before.pts_us + len(before.payload) / 2 / RATE * 1e6)
    for packet in sound:
        frames = [each for each in video if each.chunk == packet.chunk]
        assert not frames or packet.pts_us <= frames[0].pts_us
    places = {id(each): place for place, each in enumerate(client.order)}
    for packet in sound:
        later = [each for each in video if each.chunk == packet.chunk]
        assert all(places[id(packet)] < places[id(each)] for each in later)


async def test_media_comes_no_faster_than_it_is_watched(url: str) -> None:
    async with watching(url, acks=False) as client:
        await asyncio.sleep(1)
        assert len(client.video()) == 2 * client.ready["chunk_frames"], "two chunks before an ack"
        acking = asyncio.create_task(client.acknowledge())
        await client.play(2)
        ahead_us = client.video()[-1].pts_us - client.playhead_us
        assert ahead_us <= 2 * 160_000 + 240_000
        acking.cancel()


@pytest.mark.parametrize(
    "ack",
    [
        {"last_seq": 7, "playhead_us": 280_000},
        {"last_seq": 6, "dropped": 1, "playhead_us": 280_000},
        {"last_seq": 5, "dropped": 0, "playhead_us": 320_000},
        {"last_seq": 6, "playhead_us": 280_000},
    ],
)
async def test_a_stream_goes_on_after_a_silence(url: str, ack: Message) -> None:
    async with watching(url, acks=False) as client:
        await client.until(lambda: len(client.video()) == 8)
        kbps = (await client.reply({"type": "session.query"}))["target_kbps"]
        await asyncio.sleep(2.2)
        assert (await client.reply({"type": "session.query"}))["target_kbps"] == kbps
        for _ in range(80):
            await client.say("ack", **ack)
            await asyncio.sleep(0.05)
            if len(client.video()) > 8:
                break
        assert len(client.video()) > 8


async def test_an_ack_of_what_never_was_is_refused(url: str) -> None:
    async with watching(url, acks=False) as client:
        await client.until(lambda: len(client.video()) == 8)
        error = await client.reply(
            {"type": "ack", "event_id": "a", "playhead_us": 320_000, "last_seq": 1000}
        )
        assert (error["code"], error["field"], error["event_id"]) == (
            *("invalid_field", "last_seq"),
            "a",
        )
        assert (await client.reply({"type": "session.query"}))["pts_us"] == 0


async def test_a_key_frame_comes_when_asked_for(url: str) -> None:
    async with watching(url, hello={"codecs": ["h264"]}) as client:
        await client.play(0.5)
        keys = [packet.seq for packet in client.video() if packet.flags & KEY]
        assert keys == [0]
        await client.say("key", event_id="k")
        await client.until(lambda: sum(bool(each.flags & KEY) for each in client.video()) == 2)
        decoder = av.CodecContext.create("h264", "r")
        shown = [decoder.decode(av.Packet(packet.payload)) for packet in client.video()]  # pyright: ignore[reportAttributeAccessIssue]
        assert all(len(frames) == 1 for frames in shown), "one packet in, one picture out"


async def test_the_clock_is_told_and_t_ms_comes_back(url: str) -> None:
    async with watching(url) as client:
        for t_ms in (0, -(2**53), 2**53, 0.1, 1234.5678):
            pong = await client.reply({"type": "ping", "t_ms": t_ms, "event_id": "p"})
            assert (pong["type"], pong["t_ms"], pong["event_id"]) == ("pong", t_ms, "p")
        await client.play(0.3)
        now_ms = (await client.reply({"type": "ping", "t_ms": 0}))["server_ms"]
        assert all(now_ms - 3_000 < packet.server_ms <= now_ms for packet in client.packets)


async def test_a_prompt_is_seen_from_the_chunk_that_is_named(url: str) -> None:
    async with watching(url, prompt="a red wall") as client:
        await client.play(0.3)
        applied = await client.control("prompt", text="a blue wall")
        await client.play(1)
        for packet in client.video():
            red, _, blue = colour(packet)
            assert (blue > red) == (packet.chunk >= applied["chunk"]), packet.seq
        first = next(each for each in client.video() if each.chunk == applied["chunk"])
        assert first.pts_us == applied["pts_us"]
        assert client.order.index(applied) < client.order.index(first)


async def test_the_newest_of_a_kind_wins_and_both_are_answered(url: str) -> None:
    async with watching(url) as client:
        await client.play(0.2)
        await client.say("prompt", event_id="a", text="a red wall")
        await client.say("prompt", event_id="b", text="a green wall")
        await client.say("prompt", event_id="b", text="a blue wall")
        one, two = await client.answer("a"), await client.answer("b")
        assert one["type"] == two["type"] == "applied"
        await client.play(0.5)
        same = [each for each in client.messages if each.get("event_id") == "b"]
        assert len(same) == 2, "one that is used twice is answered twice"
        assert (await client.reply({"type": "session.query"}))["prompt"] == "a blue wall"


async def test_controls_wait_for_their_media_time(url: str) -> None:
    async with watching(url, prompt="a red wall") as client:
        await client.say("prompt", event_id="late", text="a blue wall", at_us=1_000_000)
        await client.say("seed", event_id="past", seed=5, at_us=0)
        await client.say("scene", event_id="false", scene="nothing", at_us=500_000)
        await client.play(0.2)
        seen = len(client.messages)
        await client.send({"type": "session.query"})
        # on a busy machine the answer to another control may come first
        status = await client.message(lambda each: "waiting" in each, after=seen)
        assert "late" in status["waiting"]
        await client.play(1.3)
        late, past = await client.answer("late"), await client.answer("past")
        assert late["type"] == past["type"] == "applied"
        assert 1_000_000 <= late["pts_us"] < 1_160_000
        assert past["pts_us"] < 1_000_000
        false = await client.answer("false")
        assert (false["type"], false["code"]) == ("rejected", "unknown_scene")
        for packet in client.video():
            red, _, blue = colour(packet)
            assert (blue > red) == (packet.pts_us >= late["pts_us"])


async def test_scheduled_controls_are_bounded(url: str) -> None:
    async with watching(url) as client:
        most = client.hello["limits"]["max_scheduled"]
        for number in range(most + 1):
            await client.say("seed", event_id=str(number), seed=1, at_us=1e12)
        refused = await client.answer(str(most))
        assert (refused["type"], refused["code"]) == ("rejected", "rate_limited")


async def test_a_scene_change_is_a_discontinuity(url: str) -> None:
    async with watching(url) as client:
        await client.play(0.2)
        applied = await client.control("scene", scene="grid")
        assert applied["scene"] == "grid"
        await client.play(0.6)
        marked = [each for each in client.video() if each.flags & DISCONTINUITY]
        assert [each.pts_us for each in marked] == [applied["pts_us"]]
        state = await client.message(
            lambda each: each.get("type") == "state" and each["scene"] == "grid"
        )
        assert state["paused"] is False


async def test_tracks_are_held_to_sixteen(url: str) -> None:
    def points(*ids: int) -> list[Message]:
        return [{"id": each, "phase": "down", "x": 0.5, "y": 0.5} for each in ids]

    async with watching(url) as client:
        answer = await client.control(
            "tracks", points=[*points(*range(15)), {**points(20)[0], "phase": "anchor"}]
        )
        assert answer["type"] == "applied"
        refused = await client.control("tracks", points=points(3, 99))
        assert (refused["code"], refused["field"]) == ("invalid_field", "points[1].id")
        tracks = (await client.reply({"type": "session.query"}))["tracks"]
        assert len(tracks) == 16 and {"id": 20, "anchor": True} in tracks
        assert (await client.control("tracks.clear", ids=[3]))["type"] == "applied"
        assert (await client.control("tracks", points=points(99)))["type"] == "applied"
        assert (await client.control("tracks.clear"))["type"] == "applied"
        assert (await client.reply({"type": "session.query"}))["tracks"] == []


async def test_pause_stops_media_time(url: str) -> None:
    async with watching(url) as client:
        await client.play(0.3)
        assert (await client.control("pause"))["type"] == "applied"
        await asyncio.sleep(0.5)
        count = len(client.video())
        await asyncio.sleep(0.5)
        assert len(client.video()) == count
        assert (await client.reply({"type": "session.query"}))["paused"] is True
        await client.control("resume")
        await client.until(lambda: len(client.video()) > count + 8)


async def test_a_reset_starts_anew_and_keeps_the_prompt(url: str) -> None:
    async with watching(url, prompt="a blue wall") as client:
        await client.play(0.2)
        applied = await client.control("reset", seed=3)
        await client.play(0.5)
        first = next(each for each in client.video() if each.pts_us == applied["pts_us"])
        assert first.flags & DISCONTINUITY
        info = await client.reply({"type": "session.query"})
        assert (info["seed"], info["prompt"]) == (3, "a blue wall")


async def test_a_picture_of_ones_own_is_shown(url: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (200, 160), (20, 160, 20)).save(file, "PNG")
    async with watching(url) as client:
        refused = await client.control("scene", scene="picture")
        assert refused["code"] == "unknown_scene"
        applied = await client.control(
            "picture", picture=base64.b64encode(file.getvalue()).decode()
        )
        assert (applied["type"], applied["scene"]) == ("applied", "picture")
        await client.play(0.5)
        image = simplejpeg.decode_jpeg(client.video()[-1].payload)
        assert abs(image[40:60, 40:60].mean(axis=(0, 1)) - (20, 160, 20)).max() < 12
        assert (await client.reply({"type": "session.query"}))["has_picture"] is True
        large = base64.b64encode(bytes(client.hello["limits"]["max_picture_bytes"] + 1)).decode()
        refused = await client.control("picture", picture=large)
        assert (refused["code"], refused["field"]) == ("too_large", "picture")


async def test_the_video_is_bounded_and_changed(url: str) -> None:
    async with watching(url, hello={"codecs": ["h264"]}, max_width=64) as client:
        assert (client.ready["width"], client.ready["height"]) == (64, 64)
        await client.play(0.4)
        applied = await client.control(
            "video", max_width=128, max_height=32, max_fps=5, max_kbps=50
        )
        change = await client.type("video.format")
        assert (change["generation"], change["width"], change["height"]) == (1, 32, 32)
        assert change["codec"] == "h264" and change["codec_string"].startswith("avc1.")
        await client.play(1.5)
        new = [each for each in client.video() if each.generation == 1]
        assert new[0].flags & KEY
        for packet in client.video():
            assert (packet.generation == 1) == (packet.pts_us >= applied["pts_us"])
        assert client.order.index(change) < client.order.index(new[0])
        decoder = av.CodecContext.create("h264", "r")
        (frame,) = decoder.decode(av.Packet(new[0].payload))  # pyright: ignore[reportAttributeAccessIssue]
        assert (frame.width, frame.height) == (32, 32)
        assert all(b.seq - a.seq == 5 for a, b in itertools.pairwise(new[1:]))
        info = await client.reply({"type": "session.query", "event_id": "q"})
        assert (info["type"], info["event_id"]) == ("session.info", "q")
        assert (info["max_fps"], info["max_kbps"], info["generation"]) == (5, 50, 1)
        stats = await client.type("stats", after=len(client.messages))
        assert stats["skipped_frames"] == 0 and stats["target_kbps"] <= 50


async def test_what_is_in_force_can_be_asked(url: str) -> None:
    async with watching(url, scene="grid", seed=7, audio_rate=24_000) as client:
        await client.play(0.3)
        info = await client.reply({"type": "session.query"})
    for name in (
        "session_id",
        "model",
        "scene",
        "prompt",
        "seed",
        "has_picture",
        "width",
        "height",
    ):
        assert info[name] == client.ready[name], name
    for name in ("fps", "codec", "audio_codec", "generation", "grace_s"):
        assert info[name] == client.ready[name], name
    assert (info["paused"], info["tracks"], info["items"], info["waiting"]) == (False, [], [], [])
    assert info["audio_rate"] == 24_000 and info["next_seq"] >= 8
    assert 0 < info["pts_us"] <= info["next_seq"] * 40_000
    assert "event_id" not in info and "resume_token" not in info


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
async def test_speech_comes_back_and_is_told_of(url: str, rate: int) -> None:
    async with watching(url, audio_rate=rate) as client:
        await client.play(0.2)
        begun = await client.control("audio.begin", item_id="a")
        assert begun["type"] == "applied"
        await talk(client, 0.8, rate)
        await client.control("audio.end", item_id="a")
        ended = await client.message(lambda each: each.get("phase") == "ended")
        started = await client.message(lambda each: each.get("phase") == "started")
        await client.play(0.3)
        assert client.ready["sample_rate"] == rate
        heard = loud_us(client.sound(), rate)
        assert started["pts_us"] == pytest.approx(heard.min(), abs=2_000)
        assert ended["pts_us"] == pytest.approx(heard.max(), abs=2_000)
        assert (started["samples"], ended["samples"]) == (0, round(0.8 * rate))
        assert ended["played_ms"] == pytest.approx(800)
        states = [each for each in client.messages if each["type"] == "state"]
        flips = [a["talking"] != b["talking"] for a, b in itertools.pairwise(states)]
        assert sum(flips) in (1, 2), "talking begins and ends once"
        back = np.concatenate([np.frombuffer(each.payload, "<i2") for each in client.sound()])
        said = np.frombuffer(tone(0.8, rate), "<i2")
        assert np.array_equal(back[back != 0], said[said != 0]), "as it was sent"


async def test_barge_in_says_what_was_heard(url: str) -> None:
    async with watching(url) as client:
        for item in ("a", "b"):
            await client.control("audio.begin", item_id=item)
            await talk(client, 1.5)
            await client.control("audio.end")
        await client.message(lambda each: each.get("phase") == "started")
        await client.play(0.4)
        answer = await client.control("audio.clear")
        told = [each for each in client.messages if each.get("phase") == "cleared"]
        assert [each["item_id"] for each in told] == ["a", "b"]
        assert (answer["item_id"], answer["played_ms"]) == ("a", told[0]["played_ms"])
        assert 200 < answer["played_ms"] < 1_500
        assert told[0]["samples"] == pytest.approx(answer["played_ms"] * 16)
        assert (told[1]["samples"], told[1]["played_ms"]) == (0, 0)
        seen = len(client.packets)
        await client.play(0.6)
        after = [each for each in client.packets[seen:] if each.kind == SOUND]
        assert after[0].flags & DISCONTINUITY
        assert not len(loud_us(after))
        begun = await client.control("audio.begin", item_id="a")
        assert begun["type"] == "applied", "what is over may begin again"


async def test_false_utterances_are_refused(url: str) -> None:
    async with watching(url) as client:
        await client.control("audio.begin", item_id="a")
        again = await client.control("audio.begin", item_id="a")
        assert (again["code"], again["field"]) == ("invalid_field", "item_id")
        other = await client.control("audio.end", item_id="b")
        assert (other["code"], other["field"]) == ("invalid_field", "item_id")
        assert (await client.control("audio.end", item_id="a"))["type"] == "applied"
        over = await client.message(lambda each: each.get("phase") == "ended")
        assert over["samples"] == 0
        for number in range(client.hello["limits"]["max_items"] + 1):
            await client.say("audio.begin", event_id=f"n{number}", item_id=f"n{number}")
            await client.send(speech(bytes(640)))
        refused = await client.answer(f"n{client.hello['limits']['max_items']}")
        assert refused["type"] in ("rejected", "applied")  # as many as were over meanwhile


async def test_too_much_speech_is_refused_by_its_seq(url: str) -> None:
    async with watching(url, acks=False) as client:
        for seq in range(32):
            await client.send(speech(bytes(32_000), seq))
        error = await client.type("error")
        assert (error["code"], error["fatal"]) == ("audio_overflow", False)
        assert 29 <= error["seq"] <= 31


async def test_opus_travels_both_ways(url: str) -> None:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"  # pyright: ignore[reportAttributeAccessIssue]
    samples = np.frombuffer(tone(1.0, 48_000), "<i2")
    hello = {"audio_codecs": ["opus"]}
    async with watching(url, hello=hello, audio_codec="opus") as client:
        assert client.ready["audio_codec"] == "opus"
        await client.control("audio.begin", item_id="a")
        for seq in range(50):
            block = samples[None, 960 * seq : 960 * seq + 960]
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 960 * seq
            for packet in encoder.encode(frame):  # pyright: ignore[reportAttributeAccessIssue]
                await client.send(speech(bytes(packet), seq))
        await client.control("audio.end")
        ended = await client.message(lambda each: each.get("phase") == "ended")
        started = await client.message(lambda each: each.get("phase") == "started")
        assert (ended["samples"], ended["played_ms"]) == (48_000, 1_000)
        await client.play(0.3)
        sound = client.sound()
        false = await client.reply(speech(b"\xff" * 40, seq=77))
        assert (false["code"], false["field"], false["seq"]) == ("invalid_field", "payload", 77)
    assert sound[0].pts_us == -6_500
    assert np.allclose(np.diff([packet.pts_us for packet in sound]), 20_000)
    seconds = len(sound) / 50
    assert sum(len(packet.payload) for packet in sound) * 8 / seconds < 64_000
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "mono"  # pyright: ignore[reportAttributeAccessIssue]
    heard = np.concatenate(
        [
            frame.to_ndarray()[0]
            for packet in sound
            for frame in decoder.decode(av.Packet(packet.payload))  # pyright: ignore[reportAttributeAccessIssue]
        ]
    )
    loud = np.flatnonzero(np.abs(heard.astype(int)) > 3_000) * 1e6 / 48_000 - 6_500
    assert loud.min() == pytest.approx(started["pts_us"], abs=15_000)
    assert loud.max() == pytest.approx(ended["pts_us"], abs=15_000)


async def test_opus_has_one_rate(url: str) -> None:
    async with watching(url, audio_codec="opus", audio_rate=48_000) as client:
        assert (await client.reply({"type": "session.query"}))["audio_rate"] == 48_000


async def test_no_sound_comes_where_none_is_wanted(url: str) -> None:
    async with watching(url, hello={"audio": False}) as client:
        assert "audio_codec" not in client.ready
        await client.play(0.4)
        assert {packet.kind for packet in client.packets} == {VIDEO}


async def test_stats_and_state_have_all_their_fields(url: str) -> None:
    async with watching(url) as client:
        await client.play(0.3)
        stats, state = await client.type("stats"), await client.type("state")
    assert set(stats) == {
        *("type", "chunk", "fps", "lead_ms", "chunk_time_ms", "rtf", "kbps", "target_kbps"),
        *("skipped_frames", "sessions", "queued_audio_ms", "quality"),
    }
    assert set(state) == {
        *("type", "received", "talking", "paused", "queued_audio_ms", "scene", "pts_us"),
    }


async def test_a_burst_that_is_permitted_passes(url: str) -> None:
    async with watching(url, acks=False) as client:
        for number in range(2 * client.hello["limits"]["messages_per_s"] - 100):
            await client.say("ping", t_ms=number)

        def pongs() -> int:
            return sum(each["type"] == "pong" for each in client.messages)

        await client.until(lambda: pongs() == 500)
        assert client.closed is None


def test_the_header_of_the_example_is_read() -> None:
    text = (
        "01 01 0100 00000000 0000000000000000 00000000 00000000 0000000000000000 00000001 6742c00a"
    )
    data = bytes.fromhex(text.replace(" ", ""))
    assert struct.unpack_from("<BBHIdIId", data) == (1, 1, KEY, 0, 0.0, 0, 0, 0.0)


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (160, 96)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


def middle(packet: Packet) -> np.ndarray:
    return simplejpeg.decode_jpeg(packet.payload)[40:60, 60:100].mean(axis=(0, 1))


async def test_a_stream_starts_from_an_image_and_anew_from_another(world_url: str) -> None:
    red = base64.b64encode(jpeg((200, 30, 30), (900, 300))).decode()
    async with watching(world_url, image=red) as client:
        wanted = client.hello["models"][0]["inputs"]["image"]
        assert wanted == {"width": 160, "height": 96, "required": False}
        assert client.ready["has_image"] is True
        await client.play(0.5)
        assert abs(middle(client.video()[-1]) - (200, 30, 30)).max() < 15
        blue = base64.b64encode(jpeg((30, 30, 200))).decode()
        applied = await client.control("image", image=blue)
        await client.play(0.8)
        first = next(each for each in client.video() if each.pts_us == applied["pts_us"])
        assert first.flags & DISCONTINUITY and first.chunk == applied["chunk"]
        assert abs(middle(first) - (30, 30, 200)).max() < 15
        words = base64.b64encode(b"no image").decode()
        refused = await client.control("image", image=words)
        assert (refused["type"], refused["code"]) == ("rejected", "invalid_field")
        assert refused["field"] == "image" and refused["hint"]


async def test_the_camera_moves_until_it_is_told_to_stand(world_url: str) -> None:
    async with watching(world_url) as client:
        assert client.hello["models"][0]["inputs"]["camera"] == {"kind": "6dof"}
        applied = await client.control("camera", translation=[0, 0, 0.5], rotation=[0, -20, 0])
        assert applied["type"] == "applied"
        info = await client.reply({"type": "session.query"})
        assert info["camera"] == {"translation": [0, 0, 0.5], "rotation": [0, -20, 0]}
        await client.control("camera", rotation=[5, 0, 0])
        info = await client.reply({"type": "session.query"})
        assert info["camera"] == {"translation": [0, 0, 0], "rotation": [5, 0, 0]}
        await client.control("camera")
        info = await client.reply({"type": "session.query"})
        assert info["camera"] == {"translation": [0, 0, 0], "rotation": [0, 0, 0]}
        for fields, field in (
            ({"translation": [0, 4.01, 0]}, "translation[1]"),
            ({"rotation": [0, 0, -360.5]}, "rotation[2]"),
        ):
            refused = await client.control("camera", **fields)
            assert (refused["code"], refused["field"]) == ("invalid_field", field)


async def test_video_goes_in_and_comes_out_redrawn(world_url: str) -> None:
    async with watching(world_url, prompt="a blue night") as client:
        wanted = client.hello["models"][0]["inputs"]["video"]
        assert wanted == {"width": 160, "height": 96, "fps": 16}
        await client.play(0.3)
        before = middle(client.video()[-1])
        for seq in range(24):
            await client.send(film(jpeg((40, 200, 40)), seq))
            await asyncio.sleep(1 / wanted["fps"])
        stats = await client.message(lambda each: each.get("video_frames", 0) > 0)
        assert stats["video_dropped"] >= 0
        await client.play(0.3)
        after = middle(client.video()[-1])
        assert after[1] > before[1] + 30, "it is greener than before"
        await client.send(film(b"no JPEG", 77))
        error = await client.message(lambda each: each.get("seq") == 77)
        assert (error["code"], error["field"], error["fatal"]) == (
            "invalid_field",
            "payload",
            False,
        )
        await client.send(film(bytes(client.hello["limits"]["max_frame_bytes"] + 1), 78))
        error = await client.message(lambda each: each.get("seq") == 78)
        assert error["code"] == "too_large"


async def test_a_model_without_them_refuses_each_by_name(url: str) -> None:
    async with watching(url) as client:
        for kind in ("image", "camera"):
            fields = (
                {"image": base64.b64encode(jpeg((0, 0, 0))).decode()} if kind == "image" else {}
            )
            assert (await client.control(kind, **fields))["code"] == "not_supported"
        await client.send(film(jpeg((0, 0, 0)), 5))
        error = await client.message(lambda each: each.get("seq") == 5)
        assert error["code"] == "not_supported"
