"""A viewer's own picture over the socket: shown, kept for a resume, seen by nobody else."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rollcast.models.contract import PICTURE, Controls, StreamRequest
from rollcast.models.test_pattern import TestPattern
from rollcast.models.warm_up import every_control
from rollcast.server.media import pictures
from rollcast.server.protocol.client_messages import SceneChange
from rollcast.server.protocol.errors import NotSupported, StreamError, UnknownScene
from rollcast.server.protocol.limits import (
    MAX_PICTURE_BYTES,
    MAX_SOCKET_BYTES,
    PICTURES_AT_ONCE,
    PICTURES_PER_MINUTE,
)
from rollcast.server.protocol.messages import parse_message
from rollcast.server.protocol.server_messages import Applied
from rollcast.server.session.media import VideoFrame
from rollcast.server.session.pending import OwnPicture
from rollcast.server.web.inbox import Inbox

from ...models.test_picture import BAD
from ...pictures import BLUE, RED, Colour, encoded, portrait
from ..running import resume_message, running, until, viewing
from ..session.session_bench import INFO, Bench

pytestmark = pytest.mark.processes


def text(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def shows(frame: np.ndarray, behind: Colour) -> bool:
    """Whether the test pattern paints a `portrait` before this colour."""
    return bool(np.abs(frame[40:120, 4:12].astype(int) - behind).max() < 30)


def plain(info_changes: dict[str, Any]) -> TestPattern:
    model = TestPattern()
    model.info = replace(model.info, **info_changes)
    return model


NO_PICTURES = {"inputs": replace(INFO.inputs, picture=None)}


# The session, without a socket.


def test_a_picture_is_told_to_the_model_and_answered_with_its_scene() -> None:
    bench = Bench()
    bench.step()
    bench.say(OwnPicture("p", b"square"))
    bench.step(scene=PICTURE)
    bench.drain()
    told = bench.controls[-1]
    assert (told.picture, told.scene, told.clear_tracks) == (b"square", PICTURE, None)
    (applied,) = bench.messages(Applied)
    assert (applied.event_id, applied.chunk, applied.scene) == ("p", 1, PICTURE)
    assert bench.messages(VideoFrame)[INFO.chunk_frames].discontinuity
    bench.step()
    assert bench.controls[-1].picture is None and bench.session.has_picture


def test_of_a_picture_and_a_scene_that_wait_the_later_is_shown_and_the_picture_kept() -> None:
    for late_scene, shown in ((True, "grid"), (False, PICTURE)):
        bench = Bench()
        controls = [OwnPicture("p", b"square"), SceneChange(event_id="s", scene="grid")]
        for control in controls if late_scene else controls[::-1]:
            bench.say(control)
        bench.step()
        assert (bench.controls[-1].picture, bench.controls[-1].scene) == (b"square", shown)


def test_the_scene_of_a_picture_is_there_once_there_is_one() -> None:
    bench = Bench()
    with pytest.raises(UnknownScene) as caught:
        bench.say(SceneChange(event_id="s", scene=PICTURE))
    assert caught.value.field == "scene" and "picture control" in caught.value.hint
    bench.say(OwnPicture("p", b"square"))
    bench.say(SceneChange(event_id="s", scene=PICTURE))
    Bench(request=StreamRequest(scene=PICTURE, picture=b"square")).say(
        SceneChange(event_id="s", scene=PICTURE)
    )


# Messages and their limits.


def message(picture: str) -> str:
    return json.dumps({"type": "picture", "event_id": "e", "picture": picture})


def refusal(sent: str) -> StreamError:
    with pytest.raises(StreamError) as caught:
        parse_message(sent)
    return caught.value


def test_a_picture_of_the_largest_size_is_read_and_a_longer_one_named() -> None:
    parse_message(message(text(bytes(MAX_PICTURE_BYTES))))
    error = refusal(message(text(bytes(MAX_PICTURE_BYTES + 3))))
    assert (error.code, error.field, error.event_id) == ("too_large", "picture", "e")
    assert "524288" in error.message and "smaller" in error.hint
    opening = json.dumps({"type": "session.create", "picture": text(bytes(MAX_PICTURE_BYTES + 3))})
    assert (refusal(opening).field, refusal(opening).event_id) == ("picture", None)
    assert refusal(message("x" * MAX_SOCKET_BYTES)).code == "too_large"


def test_a_picture_makes_no_room_for_anything_else() -> None:
    long = json.dumps({"type": "session.create", "picture": "AAAA", "prompt": "x" * 70_000})
    assert refusal(long).code in ("too_large", "invalid_field")
    padded = message("AAAA")[:-1] + " " * 70_000 + "}"
    assert refusal(padded).code == "too_large"


def test_pictures_are_taken_a_few_at_once_and_then_slowly() -> None:
    inbox = Inbox(0.0)
    for _ in range(PICTURES_AT_ONCE):
        inbox.text(message("AAAA"), 0.0)
    with pytest.raises(StreamError) as caught:
        inbox.text(message("AAAA"), 0.0)
    error = caught.value
    assert (error.code, error.field, error.event_id) == ("rate_limited", "picture", "e")
    inbox.text('{"type":"session.create"}', 0.0)
    inbox.text(message("AAAA"), 60 / PICTURES_PER_MINUTE)


def test_a_picture_and_an_image_count_as_two_and_share_a_message() -> None:
    both = {"type": "session.create", "picture": "AAAA", "image": "AAAA"}
    inbox = Inbox(0.0)
    for _ in range(PICTURES_AT_ONCE // 2):
        inbox.text(json.dumps(both), 0.0)
    with pytest.raises(StreamError) as caught:
        inbox.text(json.dumps(both), 0.0)
    assert caught.value.code == "rate_limited"
    inbox.text(json.dumps({"type": "image", "event_id": "e", "image": "AAAA"}), 0.0)
    large = text(bytes(MAX_PICTURE_BYTES + 3))
    assert refusal(json.dumps({**both, "image": large})).field == "image"
    half = text(bytes(MAX_PICTURE_BYTES // 2))
    parse_message(json.dumps({**both, "picture": half, "image": half}))


def test_warm_up_shows_a_picture_to_models_that_take_one() -> None:
    assert any(controls.picture for controls in every_control(INFO))
    assert not any(controls.picture for controls in every_control(replace(INFO, **NO_PICTURES)))


# The server.


async def test_a_picture_is_shown_from_the_applied_chunk_on_left_and_shown_again() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        assert viewer.hello["limits"]["max_picture_bytes"] == MAX_PICTURE_BYTES
        assert viewer.hello["models"][0]["inputs"]["picture"]["size"] == 128
        assert not viewer.ready["has_picture"]
        applied = await viewer.control("picture", picture=text(portrait(RED)))
        assert applied["scene"] == PICTURE
        away = await viewer.control("scene", scene="grid")
        back = await viewer.control("scene", scene=PICTURE)
        await viewer.wait_chunk(back["chunk"])
        await viewer.wait_frames(4 * back["chunk"] + 4)
        for seq, frame in viewer.frames().items():
            chunk = seq // 4
            wanted = applied["chunk"] <= chunk < away["chunk"] or chunk >= back["chunk"]
            assert shows(frame, RED) == wanted, seq


async def test_a_stream_is_opened_with_a_picture_that_survives_a_resume() -> None:
    async with running() as server, viewing(server.ws, picture=text(portrait(RED))) as viewer:
        assert viewer.ready["scene"] == PICTURE and viewer.ready["has_picture"]
        await viewer.wait_frames(8)
        await viewer.leave()
        async with viewing(server.ws, resume=resume_message(viewer)) as again:
            assert again.ready["resumed"] and again.ready["scene"] == PICTURE
            assert again.ready["has_picture"]
            await again.wait_frames(8)
            assert all(shows(frame, RED) for frame in again.frames().values())


async def test_two_streams_have_each_their_own() -> None:
    async with (
        running() as server,
        viewing(server.ws, picture=text(portrait(RED))) as one,
        viewing(server.ws, picture=text(portrait(BLUE))) as two,
        viewing(server.ws) as three,
    ):
        for viewer in (one, two, three):
            await viewer.wait_frames(12)
        assert all(shows(frame, RED) for frame in one.frames().values())
        assert all(shows(frame, BLUE) for frame in two.frames().values())
        rejected = await three.control("scene", scene=PICTURE)
        assert (rejected["code"], rejected["field"]) == ("unknown_scene", "scene")


BAD_TEXTS = {
    **{name: text(data) for name, (data, _, _) in BAD.items() if data and name != "long"},
    "no base64": "*",
    "no padding": "AAA",
}


@pytest.mark.parametrize("first", range(0, len(BAD_TEXTS), PICTURES_AT_ONCE))
async def test_every_bad_picture_is_rejected_by_its_event_and_the_stream_goes_on(
    first: int,
) -> None:
    """As many at once as a connection may send."""
    async with running() as server, viewing(server.ws) as viewer:
        for name, picture in [*BAD_TEXTS.items()][first : first + PICTURES_AT_ONCE]:
            rejected = await viewer.control("picture", picture=picture)
            assert (rejected["type"], rejected["code"]) == ("rejected", "invalid_field"), name
            assert rejected["field"] == "picture" and rejected["hint"], name
            assert "Correct the named field" not in rejected["hint"], name
        rejected = await viewer.control("picture", picture=text(bytes(MAX_PICTURE_BYTES + 3)))
        assert (rejected["code"], rejected["field"]) == ("too_large", "picture")
        count = len(viewer.video)
        await viewer.wait_frames(count + 4)
        (stream,) = server.engine.streams
        assert not stream.session.has_picture


async def test_a_bad_picture_leaves_the_socket_open_for_another_try() -> None:
    async with running() as server, viewing(server.ws, picture=text(b"no picture")) as viewer:
        error = viewer.ready
        assert (error["type"], error["code"]) == ("error", "invalid_field")
        assert error["field"] == "picture" and not error["fatal"]
        await viewer.say("session.create", picture=text(portrait(RED)))
        ready = await viewer.wait_message(lambda m: m["type"] == "session.ready")
        assert ready["scene"] == PICTURE


async def test_a_model_without_pictures_says_so() -> None:
    async with running(lambda: [plain(NO_PICTURES)]) as server, viewing(server.ws) as viewer:
        assert "picture" not in viewer.hello["models"][0]
        rejected = await viewer.control("picture", picture=text(portrait()))
        assert rejected["code"] == NotSupported.code and "takes no picture" in rejected["message"]
        async with viewing(server.ws, picture=text(portrait())) as other:
            assert other.ready["code"] == NotSupported.code


async def test_the_loop_goes_on_while_a_picture_is_looked_at() -> None:
    """The largest picture there is takes long to decode; the loop must not notice."""
    large = encoded(Image.effect_mandelbrot((4096, 4096), (-3, -2.5, 2, 2.5), 9), "PNG")
    assert len(large) < MAX_PICTURE_BYTES, len(large)
    loop = asyncio.get_running_loop()
    reader = pictures.PictureReader()
    longest_s, took_s = 0.0, loop.time()
    work = asyncio.create_task(reader.read(text(large), INFO))
    while not work.done():
        begin_s = loop.time()
        await asyncio.sleep(0.001)
        longest_s = max(longest_s, loop.time() - begin_s)
    took_s = loop.time() - took_s
    await reader.close()
    assert await work
    assert longest_s < max(0.1, took_s / 3), (longest_s, took_s)


async def test_nothing_of_it_is_kept_logged_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    picture = text(portrait(RED))
    told: list[Controls] = []

    class Watched(TestPattern):
        def step(self, state: object, controls: Controls) -> Any:
            told.append(controls)
            return super().step(state, controls)

    async with running(lambda: [Watched()], log_level="debug") as server:
        async with viewing(server.ws, picture=picture) as viewer:
            await viewer.control("picture", picture=text(portrait(BLUE)))
            await viewer.control("picture", picture=text(b"no picture"))
            await viewer.say("session.close")
            await viewer.wait_closed()
        await until(lambda: not server.engine.streams)
        squares = {controls.picture for controls in told if controls.picture}
        told.clear()
        assert squares, "the model was given one"

        def held() -> list[object]:
            gc.collect()
            return [
                each
                for each in gc.get_objects()
                if type(each) is Controls and each.picture in squares
            ]

        await until(lambda: not held())
    said = "".join(capfd.readouterr())
    assert picture[:60] not in said and "JFIF" not in said
    assert not list(tmp_path.rglob("*"))
