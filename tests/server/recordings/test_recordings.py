"""A server that records its streams, as its operator or their clients want it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from rollcast.models.test_pattern import read_barcode

from ..running import RunningServer, Viewer, running, viewing


def numbers(data: bytes | Path) -> list[int]:
    """The frame numbers that a film shows."""
    with av.open(io.BytesIO(data) if isinstance(data, bytes) else str(data), "r") as film:
        return [read_barcode(f.to_ndarray(format="rgb24")) for f in film.decode(video=0)]


async def clip_of(
    server: RunningServer, ready: dict[str, Any], token: str | None = None, **query: str
) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.http, verify=False) as http:
        headers = {"authorization": f"Bearer {token or ready['resume_token']}"}
        path = f"/v1/sessions/{ready['session_id']}/clip"
        return await http.get(path, headers=headers, params=query)


async def until_answer(viewer: Viewer, kind: str) -> dict[str, Any]:
    return await viewer.wait_message(lambda m: m["type"] == kind)


async def test_the_operator_records_every_stream(tmp_path: Path) -> None:
    async with running(recordings_dir=tmp_path) as server, viewing(server.ws) as viewer:
        assert not viewer.hello["limits"]["may_record"]
        assert (await until_answer(viewer, "session.recording"))["on"]
        await viewer.wait_frames(40)
        await viewer.say("session.close")
        assert await viewer.wait_closed() == 1000
    (film,) = tmp_path.iterdir()
    shown = numbers(film)
    assert len(shown) >= 30 and shown == list(range(shown[0], shown[0] + len(shown)))


async def test_a_client_records_its_stream_and_ends_that(tmp_path: Path) -> None:
    async with (
        running(recordings_dir=tmp_path, recordings_asked=True) as server,
        viewing(server.ws) as viewer,
    ):
        assert viewer.hello["limits"]["may_record"] and not list(tmp_path.iterdir())
        await viewer.say("session.record", event_id="a", on=True, format="webm")
        told = await viewer.wait_message(lambda m: m.get("event_id") == "a")
        assert told["on"] and told["format"] == "webm"
        await viewer.wait_frames(60)
        await viewer.say("session.record", event_id="b", on=False)
        told = await viewer.wait_message(lambda m: m.get("event_id") == "b")
        assert not told["on"] and told["seconds"] > 0.5
        (film,) = tmp_path.iterdir()
        assert film.suffix == ".webm" and numbers(film)


async def test_who_may_not_record_is_told(tmp_path: Path) -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.say("session.record", event_id="a", on=True)
        told = await viewer.wait_message(lambda m: m.get("event_id") == "a")
        assert (told["type"], told["code"]) == ("error", "not_supported")


@pytest.mark.slow
async def test_a_clip_of_the_last_seconds_is_its_own_client_s(tmp_path: Path) -> None:
    async with running(clip_s=1.5) as server, viewing(server.ws) as viewer:
        assert viewer.hello["limits"]["clip_s"] == 1.5
        await viewer.wait_frames(80)
        answer = await clip_of(server, viewer.ready, seconds="0.5")
        assert answer.status_code == 200 and answer.headers["content-type"] == "video/mp4"
        shown = numbers(answer.content)
        assert len(shown) >= 12 and shown == list(range(shown[0], shown[0] + len(shown)))
        assert (await clip_of(server, viewer.ready, token="x")).status_code == 404
        again = await clip_of(server, viewer.ready)
        assert len(numbers(again.content)) >= len(shown)


async def test_a_full_disk_ends_the_recording_and_not_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(recordings_dir=tmp_path) as server, viewing(server.ws) as viewer:
        assert (await until_answer(viewer, "session.recording"))["on"]
        monkeypatch.setattr("rollcast.server.bounded_folder.BoundedFolder.take", lambda *_: False)
        told = await viewer.wait_message(lambda m: m["type"] == "session.recording" and not m["on"])
        assert "no more room" in told["why"]
        await viewer.wait_frames(len(viewer.video) + 10)
