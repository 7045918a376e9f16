"""The mirror of the JSON messages agrees with the shared vectors in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from rollcast.client.errors import ProtocolError
from rollcast.client.messages import ClientMessage, ServerMessage, parse_server

VECTORS = json.loads((Path(__file__).parents[1] / "fixtures" / "protocol_vectors.json").read_text())
CLIENT = TypeAdapter(ClientMessage)


@pytest.mark.parametrize("message", VECTORS["client_messages"], ids=json.dumps)
def test_client_can_say_what_the_vectors_say(message: dict) -> None:
    assert json.loads(CLIENT.validate_python(message).to_json()).items() >= message.items()


@pytest.mark.parametrize("message", VECTORS["server_messages"], ids=lambda m: m["type"])
def test_client_understands_what_servers_say(message: dict) -> None:
    parsed = parse_server(json.dumps(message))
    known = {k: v for k, v in message.items() if k in type(parsed).model_fields and k != "models"}
    assert parsed.model_dump(include=set(known)) == known


def test_every_server_message_has_a_vector() -> None:
    known = {m.model_fields["type"].annotation.__args__[0] for m in ServerMessage.__args__}
    assert {m["type"] for m in VECTORS["server_messages"]} == known


def test_unknown_fields_of_a_newer_server_are_ignored() -> None:
    parse_server('{"type": "pong", "t_ms": 1.0, "server_ms": 2.0, "new_field": [1]}')


@pytest.mark.parametrize("text", ["", "[]", '{"type": "nope"}', '{"type": "pong"}'])
def test_unreadable_messages_name_the_place(text: str) -> None:
    with pytest.raises(ProtocolError, match="unreadable"):
        parse_server(text)
