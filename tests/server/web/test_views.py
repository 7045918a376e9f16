"""Over a real socket: an image to start from, the camera, and the client's own video."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.asyncio.client import connect

from rollcast.models.contract import ImageInput, ModelInputs
from rollcast.models.test_pattern import prompt_colour, read_barcode
from rollcast.server.protocol.limits import MAX_FRAME_BYTES, MAX_PICTURE_BYTES
from rollcast.server.protocol.packets import Flags, Kind, Packet, encode_packet

from ..running import RunningServer, Viewer, running, until, viewing
from ..world_pattern import EVERYTHING, HEIGHT, PROMPTS, WIDTH, WorldPattern

RED, GREEN, BLUE = (200, 40, 40), (40, 180, 60), (40, 60, 200)
REQUIRED = replace(EVERYTHING, image=ImageInput(WIDTH, HEIGHT, required=True))


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    return encoded(Image.new("RGB", size, colour))


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> bytes:
    image = Image.new("RGB", (WIDTH, HEIGHT), left)
    image.paste(right, (WIDTH // 2, 0, WIDTH, HEIGHT))
    return encoded(image)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def middle(frame: np.ndarray) -> np.ndarray:
    return frame[40:60, 70:90].reshape(-1, 3).mean(0)


def near(seen: np.ndarray, wanted: tuple[float, ...]) -> bool:
    return bool(np.abs(seen - np.array(wanted)).max() < 25)


def world(**changes: Any) -> Any:
    return running(lambda: [WorldPattern(**changes)], models=("world",))


def packet(payload: bytes, seq: int = 0) -> bytes:
    return encode_packet(Packet(Kind.VIDEO_IN, Flags.NONE, seq, 62_500.0 * seq, 0, 0, 0.0, payload))


async def frames_until(viewer: Viewer, condition: Any) -> np.ndarray:
    """The first picture that shows something, of those that come."""
    while True:
        pictures = viewer.frames()
        found = next((frame for _, frame in sorted(pictures.items()) if condition(frame)), None)
        if found is not None:
            return found
        count = len(viewer.video)
        await viewer.wait_frames(count + 1)


async def film(viewer: Viewer, payload: bytes, seconds: float = 20.0, fps: float = 16) -> None:
    for seq in range(round(seconds * fps)):
        await viewer.socket.send(packet(payload, seq))
        await asyncio.sleep(1 / fps)


async def test_a_stream_starts_from_an_image_cut_to_the_models_shape() -> None:
    wide = Image.new("RGB", (800, 240), BLUE)
    wide.paste(RED, (200, 0, 600, 240))  # the middle, in the shape of 160 x 96
    async with world() as server, viewing(server.ws, image=text(encoded(wide))) as viewer:
        assert viewer.ready["has_image"]
        assert viewer.hello["models"][0]["inputs"]["image"] == {
            "width": WIDTH, "height": HEIGHT, "required": False,
        }  # fmt: skip
        await viewer.wait_frames(8)
        for seq, frame in viewer.frames().items():
            assert read_barcode(frame) == seq
            assert near(frame[40, 4], RED) and near(frame[40, -4], RED) and near(middle(frame), RED)


async def test_another_image_starts_anew_while_media_time_goes_on() -> None:
    async with world() as server, viewing(server.ws, image=text(jpeg(RED))) as viewer:
        await viewer.wait_chunk(1)
        applied = await viewer.control("image", image=text(jpeg(BLUE, (1000, 900))))
        assert applied["type"] == "applied"
        await viewer.wait_chunk(applied["chunk"] + 1)
        for seq, frame in viewer.frames().items():
            after = seq >= 4 * applied["chunk"]
            assert near(middle(frame), BLUE if after else RED), seq
            assert read_barcode(frame) == (seq - 4 * applied["chunk"] if after else seq)
        first = next(each for each in viewer.video if each.chunk == applied["chunk"])
        assert Flags.DISCONTINUITY in first.flags


async def test_an_image_that_must_be_there_is_asked_for_and_may_be_sent_then() -> None:
    async with world(inputs=REQUIRED) as server, connect(server.ws) as socket:
        await socket.send(json.dumps({"type": "hello", "versions": [1], "codecs": ["jpeg"]}))
        await socket.recv()
        await socket.send(json.dumps({"type": "session.create", "event_id": "c"}))
        error = json.loads(await socket.recv())
        assert (error["code"], error["field"], error["fatal"], error["event_id"]) == (
            *("invalid_field", "image", False, "c"),
        )
        assert f"{WIDTH} x {HEIGHT}" in error["hint"]
        await socket.send(json.dumps({"type": "session.create", "image": text(jpeg(RED))}))
        assert json.loads(await socket.recv())["type"] == "session.ready"
        assert len(server.engine.streams) == 1


BAD = {
    "no base64": "*",
    "words": text(b"hello"),
    "cut short": text(jpeg(RED)[:300]),
    "too small": text(jpeg(RED, (40, 40))),
}


async def test_a_bad_image_is_rejected_with_a_cure_and_the_stream_goes_on() -> None:
    async with world() as server, viewing(server.ws) as viewer:
        for name, image in BAD.items():
            rejected = await viewer.control("image", image=image)
            assert (rejected["code"], rejected["field"]) == ("invalid_field", "image"), name
            assert "Correct the named field" not in rejected["hint"], name
        rejected = await viewer.control("image", image=text(bytes(MAX_PICTURE_BYTES + 3)))
        assert (rejected["code"], rejected["field"]) == ("too_large", "image")
        count = len(viewer.video)
        await viewer.wait_frames(count + 4)
        assert not next(iter(server.engine.streams)).session.has_image


async def test_the_camera_is_held_and_the_picture_follows_it() -> None:
    start = text(halves(RED, BLUE))
    async with world() as server, viewing(server.ws, image=start) as viewer:
        await viewer.wait_chunk(0)
        applied = await viewer.control(
            "camera", translation=[0.0, 0.0, 0.5], rotation=[0.0, 45.0, 0.0]
        )
        first = applied["chunk"] * 4
        await viewer.wait_frames(first + 13)
        frames = viewer.frames()
        for later in range(0, 13, 4):
            seen = frames[first + later]
            # 45 degrees a second are half a width: so many columns of the blue half are gone
            edge = int(np.flatnonzero(seen[48, :, 2].astype(int) > seen[48, :, 0])[0])
            assert abs(edge - (WIDTH // 2 - later * WIDTH // 32)) <= 8, later
            white = int((seen[-4, :, 1] > 127).sum())
            assert abs(white - later * WIDTH // 32) <= 8
        stopped = await viewer.control("camera")
        await viewer.wait_chunk(stopped["chunk"] + 1)
        still = [f for seq, f in viewer.frames().items() if seq >= 4 * stopped["chunk"]]
        assert np.abs(still[0][-4].astype(int) - still[-1][-4]).max() < 30


async def test_impossible_moves_are_rejected_by_field() -> None:
    async with world() as server, viewing(server.ws) as viewer:
        for fields, field in (
            ({"translation": [0, 0, 4.1]}, "translation[2]"),
            ({"rotation": [0, 1e9, 0]}, "rotation[1]"),
            ({"rotation": [0, 1]}, "rotation[2]"),
        ):
            rejected = await viewer.control("camera", **fields)
            assert (rejected["code"], rejected["field"]) == ("invalid_field", field)


async def test_video_is_seen_in_the_prompts_colour_and_its_last_frame_stays() -> None:
    async with world() as server, viewing(server.ws, prompt=PROMPTS[1]) as viewer:
        filming = asyncio.create_task(film(viewer, jpeg(GREEN, (320, 240))))
        tint = tuple((a + b) // 2 for a, b in zip(GREEN, prompt_colour(PROMPTS[1]), strict=True))
        await frames_until(viewer, lambda frame: near(middle(frame), tint))
        filming.cancel()
        await viewer.wait_message(lambda m: m["type"] == "stats" and m["video_frames"] >= 1)
        count = len(viewer.video)
        await viewer.wait_frames(count + 20)
        assert near(middle(viewer.frames()[max(p.seq for p in viewer.video)]), tint)


async def test_frames_that_come_too_fast_are_dropped_and_counted_and_nothing_waits() -> None:
    async with world() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(1)
        payload = jpeg(GREEN, (64, 64))
        for seq in range(100):
            await viewer.socket.send(packet(payload, seq))
        assert (await viewer.control("prompt", text="a wall"))["type"] == "applied"
        stats = await viewer.wait_message(
            lambda m: m["type"] == "stats" and m["video_frames"] + m["video_dropped"] == 100
        )
        assert stats["video_frames"] >= 1 and stats["video_dropped"] > 80
        assert not [m for m in viewer.messages if m["type"] == "error"]


async def test_what_is_no_frame_is_named_by_its_seq_and_the_next_one_is_seen() -> None:
    broken = jpeg(RED)[:200]
    async with world() as server, viewing(server.ws, prompt=PROMPTS[1]) as viewer:
        for seq, (payload, code) in enumerate(
            [
                (b"hello", "invalid_field"),
                (broken, "invalid_field"),
                (jpeg(RED, (12, 12)), "invalid_field"),
                (b"\xff\xd8" + bytes(MAX_FRAME_BYTES), "too_large"),
                (b"", "invalid_field"),
            ]
        ):
            await viewer.socket.send(packet(payload, seq))
            error = await viewer.wait_message(lambda m, seq=seq: m.get("seq") == seq)
            assert (error["code"], error["field"], error["fatal"]) == (code, "payload", False)
        filming = asyncio.create_task(film(viewer, jpeg(GREEN)))
        tint = tuple((a + b) // 2 for a, b in zip(GREEN, prompt_colour(PROMPTS[1]), strict=True))
        await frames_until(viewer, lambda frame: near(middle(frame), tint))
        filming.cancel()


def decoders() -> set[int]:
    """Processes of ours that decode frames."""
    found = set[int]()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read()
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if b"frame_process" in words and parent == os.getpid():
            found.add(int(name))
    return found


async def test_a_decoder_that_dies_costs_a_frame_and_ends_with_its_connection() -> None:
    async with world() as server, viewing(server.ws, prompt=PROMPTS[1]) as viewer:
        filming = asyncio.create_task(film(viewer, jpeg(GREEN)))
        await viewer.wait_message(lambda m: m["type"] == "stats" and m["video_frames"] > 0)
        (first,) = decoders()
        os.kill(first, signal.SIGKILL)
        await viewer.wait_message(lambda m: m["type"] == "error" and "decoder" in m["message"])
        await until(lambda: bool(decoders() - {first}))
        filming.cancel()
        await viewer.leave()
        await until(lambda: not decoders())


async def test_a_model_without_video_says_so_and_starts_no_decoder() -> None:
    async with world(inputs=ModelInputs()) as server, viewing(server.ws) as viewer:
        await viewer.socket.send(packet(jpeg(GREEN), 3))
        error = await viewer.wait_message(lambda m: m["type"] == "error")
        assert (error["code"], error["seq"]) == ("not_supported", 3)
        assert "takes no video" in error["message"] and not decoders()


@pytest.mark.parametrize("inputs", [EVERYTHING, REQUIRED])
async def test_session_info_says_what_is_in_force(inputs: ModelInputs) -> None:
    async with world(inputs=inputs) as server, viewing(server.ws, image=text(jpeg(RED))) as viewer:
        await viewer.control("camera", rotation=[0, 5, 0])
        info = await viewer.control("session.query")
        assert info["has_image"] and info["camera"] == {
            "translation": [0.0, 0.0, 0.0],
            "rotation": [0.0, 5.0, 0.0],
        }
        assert isinstance(server, RunningServer)
