"""The client's messages agree with the shared vectors in both directions."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from rollcast.client.errors import ProtocolError
from rollcast.client.messages import (
    SERVER_MESSAGES,
    ClientMessage,
    ServerMessage,
    TrackPoint,
    parse_server,
)

VECTORS = json.loads((Path(__file__).parents[1] / "fixtures" / "protocol_vectors.json").read_text())
CLIENT_MESSAGES = {kind.type: kind for kind in get_args(ClientMessage)}


def spoken(message: dict[str, Any]) -> Any:
    given = {name: value for name, value in message.items() if name != "type"}
    if "points" in given:
        given["points"] = [TrackPoint(**point) for point in given["points"]]
    return CLIENT_MESSAGES[message["type"]](**given)


def heard(message: Any) -> Any:
    """What was read, as JSON has it, without what was left out."""
    if isinstance(message, list | tuple):
        return [heard(each) for each in message]
    if not is_dataclass(message):
        return message
    values = {each.name: heard(getattr(message, each.name)) for each in fields(message)}
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("message", VECTORS["client_messages"], ids=json.dumps)
def test_client_can_say_what_the_vectors_say(message: dict) -> None:
    assert json.loads(spoken(message).to_json()).items() >= message.items()


@pytest.mark.parametrize("message", VECTORS["server_messages"], ids=lambda m: m["type"])
def test_client_understands_what_servers_say(message: dict) -> None:
    parsed = parse_server(json.dumps(message))
    assert {"type": message["type"], **heard(parsed)} == message


def test_every_server_message_has_a_vector() -> None:
    assert {m["type"] for m in VECTORS["server_messages"]} == set(SERVER_MESSAGES)
    assert set(SERVER_MESSAGES.values()) == set(get_args(ServerMessage))


def test_unknown_fields_and_words_of_a_newer_server_are_ignored() -> None:
    parse_server('{"type": "pong", "t_ms": 1.0, "server_ms": 2, "new_field": [1]}')
    hello = next(m for m in VECTORS["server_messages"] if m["type"] == "hello")
    newer = {**hello, "codecs": ["av9", "h264"]}
    assert heard(parse_server(json.dumps(newer)))["codecs"] == ["av9", "h264"]


@pytest.mark.parametrize("message", VECTORS["unknown_server_messages"], ids=lambda m: m["type"])
def test_unknown_messages_of_a_newer_server_are_ignored(message: dict) -> None:
    assert parse_server(json.dumps(message)) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "message"),
        ("[]", "type"),
        ('{"type": 7}', "type"),
        ('{"type": "pong"}', "pong.t_ms"),
        ('{"type": "pong", "t_ms": "1", "server_ms": 2}', "pong.t_ms"),
        ('{"type": "pong", "t_ms": true, "server_ms": 2}', "pong.t_ms"),
        ('{"type": "hello", "version": 1, "server": "s", "models": [1]}', r"hello.models\[0\]"),
    ],
)
def test_unreadable_messages_name_the_place(text: str, place: str) -> None:
    with pytest.raises(ProtocolError, match=f"unreadable message from the server: {place}:"):
        parse_server(text)


def test_a_point_outside_the_frame_is_a_mistake_at_once() -> None:
    with pytest.raises(ValueError, match=r"x must be 0 to 1, got 1\.5"):
        TrackPoint(id=0, phase="down", x=1.5, y=0)
