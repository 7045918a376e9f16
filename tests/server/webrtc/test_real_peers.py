"""Real peers on loopback: they speak, interrupt, come again, watch, publish, and leave nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollcast.benchmarks.stream.microphone_track import BLOCK, RATE
from rollcast.server.engine.hosted_stream import HostedStream
from rollcast.server.web.peer_socket import PeerSocket

from ...browser.conftest import write_wav
from ..running import RunningServer, running, settled, until, viewing
from ..world_pattern import WorldPattern
from .watching_peer import Peer, Refused, peer, tone

pytestmark = pytest.mark.peers
SENTENCE = tone(1.2)


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running(grace_s=60.0) as started:
        yield started


def only(server: RunningServer) -> HostedStream:
    (stream,) = server.engine.streams
    return stream


def peers_of(server: RunningServer) -> Any:
    app: Any = server.server.config.app
    return app.state.peers


def mouth(picture: np.ndarray) -> int:
    """The height of the dark bar in the middle."""
    return int((picture[70:110, 62:66].mean(axis=(1, 2)) < 60).sum())


def spoken(viewer: Peer, from_s: float = 0.0) -> list[float]:
    """When the mouth was seen open."""
    return [at_s for at_s, picture in viewer.pictures if at_s > from_s and mouth(picture) > 8]


async def test_sound_and_picture_of_speech_come_together(server: RunningServer) -> None:
    async with peer(server) as viewer:
        await viewer.open()
        await viewer.until(lambda: len(viewer.pictures) > 10)
        differences: list[float] = []
        for turn in range(3):
            begun_s = asyncio.get_running_loop().time()
            viewer.microphone.say(SENTENCE)
            await viewer.until(lambda since=begun_s: len(spoken(viewer, since)) > 20)
            await viewer.until(
                lambda since=begun_s: sum(at_s > since for at_s in viewer.loud()) > 50
            )
            loud = [at_s for at_s in viewer.loud() if at_s > begun_s]
            differences.append(loud[0] - spoken(viewer, begun_s)[0])
            await viewer.until(lambda: viewer.sounds[-1][0] - viewer.loud()[-1] > 0.5)
            if turn == 1:
                assert (await viewer.control("pause"))["type"] == "applied"
                await asyncio.sleep(1.0)
                assert (await viewer.control("resume"))["type"] == "applied"
                seen = len(viewer.pictures)
                await viewer.until(lambda seen=seen: len(viewer.pictures) > seen + 10)
        # a frame and a packet of sound are the grain; a busy machine may delay one arrival
        assert sorted(map(abs, differences))[1] < 0.08, differences
        clocks = [said for said in viewer.messages if said["type"] == "media.clock"]
        assert len(clocks) >= 2, "the pause has moved media time"
        codes = viewer.barcodes()
        gaps = codes[-1] - codes[0] + 1 - len(codes)
        # a busy machine may leave some out before the first one comes
        assert gaps <= only(server).session.skipped_frames


async def test_interruptions_are_silent_at_once_and_the_next_sentence_is_whole(
    server: RunningServer,
) -> None:
    async with peer(server) as viewer:
        await viewer.open()
        await viewer.until(lambda: len(viewer.pictures) > 10)
        for _ in range(3):
            before = len(viewer.loud())
            viewer.microphone.say(tone(3.0))
            await viewer.until(lambda before=before: len(viewer.loud()) > before + 5)
            viewer.microphone.hush()
            assert (await viewer.control("audio.clear"))["type"] == "applied"
            heard = len(viewer.sounds)
            await viewer.until(lambda heard=heard: len(viewer.sounds) > heard + 25)
            # what the microphone heard before it fell silent comes out again, but not so soon
            soon = [samples for _, samples in viewer.sounds[heard : heard + 12]]
            loud = sum(np.abs(samples).max() > 2000 for samples in soon)
            assert loud * BLOCK / RATE <= 0.12, "the receiver's own buffer"
        before = len(viewer.loud())
        viewer.microphone.say(SENTENCE)
        await viewer.until(lambda: len(viewer.loud()) >= before + 58)


async def test_a_lost_peer_resumes_over_another_way(server: RunningServer) -> None:
    async with peer(server) as viewer:
        ready = await viewer.open()
        await viewer.until(lambda: len(viewer.pictures) > 5)
        last = viewer.barcodes()[-1]
    await until(lambda: not only(server).session.attached)
    again = {
        "type": "session.resume",
        "session_id": ready["session_id"],
        "resume_token": ready["resume_token"],
        "last_seq": last,
    }
    async with peer(server, codec="video/VP8") as viewer:
        resumed = await viewer.open(**again)
        assert (resumed["resumed"], resumed["next_seq"]) == (True, last + 1)
        assert resumed["codec"] == "vp8"
        await viewer.until(lambda: len(viewer.pictures) > 10)
        assert viewer.barcodes()[0] == last + 1
        last = viewer.barcodes()[-1]
    await until(lambda: not only(server).session.attached)
    async with viewing(server.ws, resume=again | {"last_seq": last}) as third:
        assert third.ready["type"] == "session.ready", "over a WebSocket as well"
        await third.wait_frames(5)


async def test_players_without_controls_see_and_watch(server: RunningServer) -> None:
    async with peer(server, controls=False, speaks=False, query="?scene=grid&seed=3") as player:
        await player.until(lambda: len(player.pictures) > 5 and len(player.sounds) > 5)
        session = only(server).session
        assert (session.scene, session.seed, session.attached) == ("grid", 3, True)
        assert session.sound_rate == 16_000
    await until(lambda: not server.engine.streams)  # nobody could resume it
    async with peer(server, controls=False, speaks=True) as player:
        player.microphone.say(SENTENCE)
        await player.until(lambda: len(player.loud()) >= 58)
        assert only(server).session.sound_rate == 48_000, "all that its microphone sends"
    await until(lambda: not server.engine.streams)
    async with peer(server) as viewer:
        await viewer.open()
        shared = await viewer.control("session.share")
        token = shared["share_token"]
        async with peer(server, controls=False, speaks=False, token=token) as watching:
            await watching.until(lambda: len(watching.pictures) > 10)
        with pytest.raises(Refused) as refused:
            async with peer(server, speaks=True, token=token, path="/v1/whip"):
                pass
        assert refused.value.status == 401


async def test_a_publisher_speaks_for_the_stream(server: RunningServer) -> None:
    async with peer(server, speaks=False) as viewer:
        await viewer.open()
        token = (await viewer.control("session.share", publish=True))["share_token"]
        async with peer(server, controls=False, token=token, path="/v1/whip") as publisher:
            await publisher.until(lambda: publisher.pc.connectionState == "connected")
            publisher.microphone.say(SENTENCE)
            await viewer.until(lambda: len(viewer.loud()) >= 58)
            await viewer.until(lambda: len(spoken(viewer)) > 20)
        await until(lambda: len(peers_of(server)) == 1)


@asynccontextmanager
async def publishing(
    server: RunningServer, repository: Path, folder: Path, token: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The ffmpeg of docs/webrtc.md, while it says a tone."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    text = (repository / "docs" / "webrtc.md").read_text()
    (command,) = re.findall(r"^ +ffmpeg (.*?)^ +```", text, re.DOTALL | re.MULTILINE)
    words = command.replace("\\\n", " ").split()
    # not the rate of Opus
    write_wav(folder / "talk.wav", tone(6.0, RATE // 2) / 32768, RATE // 2)
    meant = {"TOKEN": token, "talk.wav": str(folder / "talk.wav")}
    url = f"{server.http}/v1/whip"
    words = [meant.get(each, url if each.endswith("/v1/whip") else each) for each in words]
    process = await asyncio.create_subprocess_exec(ffmpeg, "-loglevel", "error", *words)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_ffmpeg_speaks_by_the_words_of_the_docs(
    server: RunningServer, repository: Path, tmp_path: Path
) -> None:
    async with peer(server, speaks=False) as viewer:
        await viewer.open()
        token = (await viewer.control("session.share", publish=True))["share_token"]
        async with publishing(server, repository, tmp_path, token) as process:
            await viewer.until(lambda: len(viewer.loud()) >= 100)
            assert await asyncio.wait_for(process.wait(), 20) == 0
        await until(lambda: len(peers_of(server)) == 1)


async def test_ffmpeg_films_for_a_model_that_takes_video(repository: Path, tmp_path: Path) -> None:
    async with (
        running(lambda: [WorldPattern()], models=("world",)) as server,
        viewing(server.ws) as viewer,
    ):
        await viewer.say("session.share", event_id="p", publish=True)
        said = await viewer.wait_message(lambda each: each.get("event_id") == "p")
        async with publishing(server, repository, tmp_path, said["share_token"]):
            session = only(server).session
            await until(lambda: session.video_in.taken >= 20)


async def test_a_hundred_peers_leave_nothing_behind(server: RunningServer) -> None:
    async def come_and_go() -> None:
        async with peer(server, speaks=False) as viewer:
            await viewer.open()
            await viewer.until(lambda: len(viewer.pictures) >= 2)
            viewer.say("session.close")
            await until(lambda: not server.engine.streams)

    limits = peers_of(server)
    limits._new._burst = 1000.0
    for _ in range(3):
        await come_and_go()
    await settled(lambda: len(asyncio.all_tasks()))
    tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    for _ in range(100):
        await come_and_go()
    await until(lambda: len(limits) == 0)
    await settled(lambda: len(asyncio.all_tasks()))
    gc.collect()
    assert len(asyncio.all_tasks()) <= tasks + 2
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert threading.active_count() <= threads + 2
    alive = [each for each in gc.get_objects() if isinstance(each, PeerSocket)]
    assert len(alive) <= 1, "but for one that a local of the loop may hold"
