"""What agents send for avatars by: who is let in, what is refused and how it is said."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("livekit.rtc", exc_type=ImportError)

from PIL import Image
from starlette.testclient import TestClient

from rollcast.client.livekit.app import build_app
from rollcast.client.livekit.avatar import Rollcast
from rollcast.client.livekit.avatars import Avatars
from rollcast.client.livekit.invitation import BadInvitation, check_room
from rollcast.client.livekit.launch import _invitation

KEY = {"Authorization": "Bearer of-agents"}
TOKEN = "a.b.c"
ROOM = {"livekit_url": "ws://127.0.0.1:1", "livekit_token": TOKEN, "room_name": "r"}


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def http() -> Iterator[TestClient]:
    """A worker whose Rollcast server is not there."""
    app = build_app(Avatars(Rollcast("http://127.0.0.1:1"), 1), secret="of-agents")
    with TestClient(app) as client:
        yield client


def test_an_invitation_is_a_form_with_a_picture_or_json(http: TestClient) -> None:
    answers = [
        http.post("/launch", data=ROOM, files={"avatar_image": jpeg()}, headers=KEY),
        http.post("/launch", data=ROOM, headers=KEY),
        http.post(
            "/launch",
            json={**ROOM, "image": base64.b64encode(jpeg()).decode()},
            headers={"api-secret": "of-agents"},
        ),
    ]
    for answer in answers:  # all the way to the server that is not there
        assert answer.status_code == 502
        assert "--server" in answer.json()["error"]["message"]
    assert http.get("/healthz").json() == {"avatars": 0}


def test_a_face_goes_before_a_name() -> None:
    body = {**ROOM, "avatar_id": "mila"}
    with_face, named = _invitation(body, jpeg(), "f", ()), _invitation(body, None, "f", ())
    assert (with_face.scene, named.scene) == (None, "mila")
    assert with_face.picture is not None and with_face.picture[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"livekit_url": "ftp://x"}, "livekit_url"),
        ({"livekit_url": 5}, "livekit_url"),
        ({"livekit_token": "no"}, "livekit_token"),
        ({"image": "%%"}, "image"),
        ({"image": base64.b64encode(b"no picture").decode()}, "image"),
        ({"image": "http://169.254.169.254/"}, "avatar_image_url"),
    ],
)
def test_what_is_wrong_is_named(http: TestClient, change: dict[str, Any], field: str) -> None:
    answer = http.post("/launch", json={**ROOM, **change}, headers=KEY)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == field


def test_a_stranger_a_page_and_a_flood_are_refused(http: TestClient) -> None:
    page = {**KEY, "Origin": "http://127.0.0.1"}
    assert http.post("/launch", json=ROOM).status_code == 401
    assert http.post("/v1/sessions/token", json={}, headers={"X-API-KEY": "x"}).status_code == 401
    assert http.post("/launch", json=ROOM, headers=page).status_code == 403
    assert http.post("/launch", content=b"x" * (17 << 20), headers=KEY).status_code == 413
    assert http.post("/launch", content=iter([b"{}"]), headers=KEY).status_code == 413
    for body in (b"[]", b"{", b"\xff"):
        answer = http.post("/launch", content=body, headers=KEY)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "body")


def test_rooms_of_other_servers_are_not_joined() -> None:
    check_room("wss://rooms.example", TOKEN, ("https://rooms.example:443",))
    with pytest.raises(BadInvitation, match="--room-server"):
        check_room("wss://rooms.example.org", TOKEN, ("wss://rooms.example",))


def test_a_session_of_liveavatar_goes_by_its_token(http: TestClient) -> None:
    config = {"livekit_url": "ws://127.0.0.1:1", "livekit_client_token": TOKEN}
    wanted = {"mode": "LITE", "avatar_id": "mila", "livekit_config": config}
    answer = http.post("/v1/sessions/token", json=wanted, headers={"X-API-KEY": "of-agents"})
    data = answer.json()["data"]
    by = {"Authorization": f"Bearer {data['session_token']}"}
    body = {"session_id": data["session_id"]}
    assert http.post("/v1/sessions/start", json=body).status_code == 404
    assert http.post("/v1/sessions/start", json=body, headers=by).status_code == 502
    assert http.post("/v1/sessions/stop", json=body, headers=by).json()["code"] == 100
    assert http.post("/v1/sessions/start", json=body, headers=by).status_code == 404
    full = {**wanted, "livekit_config": None}
    answer = http.post("/v1/sessions/token", json=full, headers={"X-API-KEY": "of-agents"})
    assert answer.json()["error"]["field"] == "mode"
