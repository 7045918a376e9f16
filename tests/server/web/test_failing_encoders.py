"""Encoders that fail or hang: the stream goes on by the next codec, and the viewer is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from websockets.asyncio.client import connect

from rollcast.client import connect as client
from rollcast.models.test_pattern import read_barcode
from rollcast.models.yuv_frames import Picture
from rollcast.server.media import encoder
from rollcast.server.media.encoder import H264Encoder, JpegEncoder, Vp8Encoder
from rollcast.server.media.workers import Workers
from rollcast.server.protocol.packets import Flags

from ..running import RunningServer, Viewer, decode, resume_message, running, until, viewing

ALL = ("h264", "vp8", "jpeg")
CLASSES = {"h264": H264Encoder, "vp8": Vp8Encoder, "jpeg": JpegEncoder}


class Faults:
    """Makes encoders of a codec fail, from their frame `behind` on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.mended = threading.Event()

    def fail(self, codec: str, how: Callable[[], None], *, behind: int = 0) -> None:
        kind = CLASSES[codec]
        encode, counts = kind.encode, dict[int, int]()

        def failing(encoder: object, picture: Picture, pts_us: float, *, key: bool):
            counts[id(encoder)] = counts.get(id(encoder), 0) + 1
            if counts[id(encoder)] > behind and not self.mended.is_set():
                how()
            return encode(encoder, picture, pts_us, key=key)  # pyright: ignore[reportArgumentType]

        self._patch.setattr(kind, "encode", failing)

    def hang(self) -> None:
        self.mended.wait()


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    faults = Faults(monkeypatch)
    yield faults
    faults.mended.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "rollcast.server.web.app.Workers", lambda count: Workers(count, limit_s=0.5)
    )


def out_of_memory() -> None:
    raise MemoryError("secret words of an exception")


async def health(server: RunningServer) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.get(f"{server.http}/health")


def changes(viewer: Viewer) -> list[dict[str, object]]:
    return [message for message in viewer.messages if message["type"] == "video.format"]


async def test_the_stream_goes_on_by_the_next_codec_without_a_gap(faults: Faults) -> None:
    async with running() as server:
        faults.fail("h264", out_of_memory, behind=6)
        async with viewing(server.ws, codecs=ALL) as viewer:
            assert viewer.ready["codec"] == "h264"
            await viewer.wait_frames(24)
            (change,) = changes(viewer)
            assert (change["codec"], change["codec_string"]) == ("vp8", "vp8")
            assert change["generation"] == 1
            assert change["message"] == "the encoder of h264 failed"
            video = viewer.video
            assert [packet.seq for packet in video] == list(range(len(video)))
            first = [packet for packet in video if packet.generation == 0]
            rest = [packet for packet in video if packet.generation == 1]
            assert len(first) == 6 and Flags.KEY in rest[0].flags
            pictures = decode("h264", first) | decode("vp8", rest)
            assert [read_barcode(pictures[seq]) for seq in range(24)] == list(range(24))
        assert (await health(server)).status_code == 200


async def test_an_encoder_of_the_card_gives_way_to_x264(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same codec, in the middle of a stream; the next stream begins with it."""

    class OfTheCard(H264Encoder):
        def __init__(self, backend: str, *size: int) -> None:
            super().__init__("libx264", *size)
            self.name, self._left = backend, 6

        def encode(self, picture: Picture, pts_us: float, *, key: bool) -> tuple[bytes, bool]:
            self._left -= 1
            if self.name == "h264_nvenc" and self._left < 0:
                raise MemoryError("the card has gone")
            return super().encode(picture, pts_us, key=key)

    monkeypatch.setattr("rollcast.server.media.encoder.H264Encoder", OfTheCard)
    # what opens in this process is known by now, and it was none of the card's
    monkeypatch.setattr("rollcast.server.media.encoder._opens", encoder._opens.__wrapped__)
    async with running() as server:
        async with viewing(server.ws, codecs=ALL) as viewer:
            await viewer.wait_frames(24)
            (change,) = changes(viewer)
            assert change["codec"] == "h264" and change["generation"] == 1
            assert str(change["codec_string"]).startswith("avc1")
            video = viewer.video
            assert [packet.seq for packet in video] == list(range(len(video)))
            parts = [[p for p in video if p.generation == k] for k in (0, 1)]
            assert len(parts[0]) == 6 and Flags.KEY in parts[1][0].flags
            pictures = decode("h264", parts[0]) | decode("h264", parts[1])
            assert [read_barcode(pictures[seq]) for seq in range(24)] == list(range(24))
            assert [each.session.encoder for each in server.engine.streams] == ["libx264"]
        async with viewing(server.ws, codecs=ALL) as viewer:
            await viewer.wait_frames(12)
            assert not changes(viewer)


async def test_one_that_hangs_gives_way_too(faults: Faults, impatient: None) -> None:
    async with running() as server:
        faults.fail("h264", faults.hang, behind=3)
        async with viewing(server.ws, codecs=ALL) as a, viewing(server.ws, codecs=ALL) as b:
            for viewer in (a, b):
                await viewer.wait_frames(16)
                assert [change["codec"] for change in changes(viewer)] == ["vp8"]
            answer = await health(server)
            assert (answer.status_code, answer.json()["why"]) == (503, "an encoder hangs")
            assert answer.json()["engine"] == "ready"
            faults.mended.set()
            await until(lambda: not server.engine.unwell)
            assert (await health(server)).status_code == 200


async def test_the_python_client_goes_on(faults: Faults) -> None:
    async with running() as server:
        faults.fail("h264", out_of_memory, behind=6)
        faults.fail("vp8", out_of_memory, behind=6)
        async with client(server.http, pace="reader") as stream:
            numbers: list[int] = []
            async for frame in stream.frames():
                numbers.append(read_barcode(frame.image))
                if len(numbers) == 24:
                    break
            assert numbers == list(range(24))
            assert stream.reconnects == 0


async def test_a_resumed_stream_does_not_begin_with_what_failed(faults: Faults) -> None:
    async with running() as server:
        faults.fail("h264", out_of_memory, behind=3)
        async with viewing(server.ws, codecs=ALL) as viewer:
            await viewer.wait_frames(8)
        async with viewing(server.ws, codecs=ALL, resume=resume_message(viewer)) as again:
            assert again.ready["codec"] == "vp8"
            await again.wait_frames(8)
            assert not changes(again)


async def test_a_client_for_whom_nothing_is_left_is_told_and_not_kept(faults: Faults) -> None:
    async with running() as server:
        faults.fail("h264", out_of_memory, behind=3)
        async with viewing(server.ws, codecs=("h264",)) as viewer:
            error = await viewer.wait_message(lambda m: m["type"] == "error")
            assert (error["code"], error["fatal"]) == ("engine_failed", True)
            assert error["message"] == "no video encoder works for this client"
            assert error["retry_after_s"] > 0
            assert await viewer.wait_closed() == 4500
            await until(lambda: not server.engine.streams)


async def test_a_codec_that_fails_always_is_no_longer_offered(faults: Faults) -> None:
    """Or a client that knows no other would come back for ever."""
    async with running() as server:
        faults.fail("h264", out_of_memory)
        for _ in range(3):
            async with viewing(server.ws, codecs=("h264",)) as viewer:
                assert await viewer.wait_closed() == 4500
        async with connect(server.ws) as socket:
            hello = {"type": "hello", "versions": [1], "codecs": ["h264"]}
            await socket.send(json.dumps(hello))
            error = json.loads(await socket.recv())
            assert (error["code"], error["fatal"]) == ("unsupported_codec", True)
            assert "only vp8, jpeg" in error["message"]
        async with viewing(server.ws, codecs=ALL) as viewer:
            assert viewer.hello["codecs"] == ["vp8", "jpeg"]
            await viewer.wait_frames(8)
        text = server.engine.metrics.render().decode()
        assert 'rollcast_encoder_failures_total{codec="h264"} 3.0' in text


async def test_health_is_red_when_no_encoder_works_and_quotes_no_exception(faults: Faults) -> None:
    async with running() as server:
        for codec in ALL:
            faults.fail(codec, out_of_memory)
        for _ in range(3):
            async with viewing(server.ws, codecs=ALL) as viewer:
                assert await viewer.wait_closed() == 4500
        answer = await health(server)
        assert (answer.status_code, answer.json()["why"]) == (503, "no encoder works")
        assert "secret" not in answer.text and "MemoryError" not in answer.text


async def test_two_hung_encodes_do_not_hold_up_the_end(faults: Faults) -> None:
    async with running() as server:
        faults.fail("h264", faults.hang)
        async with viewing(server.ws, codecs=("h264",)), viewing(server.ws, codecs=("h264",)):
            await until(lambda: len(server.engine.streams) == 2)
            begin_s = time.monotonic()
            server.server.should_exit = True
            await until(lambda: not server.engine.streams)
    assert time.monotonic() - begin_s < 20
