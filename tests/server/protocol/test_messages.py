"""Every text gives a message or a documented error; the golden vectors hold."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.server.protocol.errors import ERRORS, Capacity, InvalidField, StreamError, TooLarge
from rollcast.server.protocol.limits import MAX_PICTURE_BYTES
from rollcast.server.protocol.messages import (
    CONTROLS,
    SERVER,
    answer,
    encode_message,
    parse_message,
)
from rollcast.server.protocol.server_messages import ErrorMessage, Rejected

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "protocol_vectors.json").read_text()
)
CODES = {error.code for error in ERRORS}


@pytest.mark.parametrize("message", VECTORS["client_messages"], ids=json.dumps)
def test_a_valid_client_message_is_read_field_by_field(message: dict[str, Any]) -> None:
    parsed = parse_message(json.dumps(message))
    assert parsed.model_dump(mode="json", exclude_unset=True) == message


@pytest.mark.parametrize("message", VECTORS["server_messages"], ids=lambda m: m["type"])
def test_a_server_message_is_written_without_its_absent_fields(message: dict[str, Any]) -> None:
    text = encode_message(SERVER.validate_json(json.dumps(message)))
    assert json.loads(text) == message


@pytest.mark.parametrize(
    "vector", VECTORS["invalid_client_messages"], ids=lambda vector: vector["name"]
)
def test_an_invalid_message_names_its_code_field_and_event(vector: dict[str, Any]) -> None:
    with pytest.raises(StreamError) as caught:
        parse_message(vector["text"])
    error = caught.value
    assert (error.code, error.field, error.event_id) == (
        vector["code"],
        vector["field"],
        vector["event_id"],
    )
    assert error.hint and not error.fatal
    told = answer(error)
    assert isinstance(told, Rejected if vector["rejected"] else ErrorMessage)
    assert told.event_id == vector["event_id"]


@pytest.mark.parametrize("texts", VECTORS["equal_client_messages"], ids=lambda texts: texts[0])
def test_two_ways_to_write_a_message_are_one_message(texts: list[str]) -> None:
    assert parse_message(texts[0]) == parse_message(texts[1])


def test_every_type_of_client_message_has_a_vector() -> None:
    types = {message["type"] for message in VECTORS["client_messages"]}
    assert types >= CONTROLS
    assert types - CONTROLS == {
        *("hello", "session.create", "session.resume", "session.close", "session.query"),
        *("session.share", "session.record", "session.watch", "ack", "key", "ping"),
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
fields = st.sampled_from(
    ["event_id", "text", "seed", "points", "ids", "t_ms", "last_seq", "playhead_us", "versions"]
)


@given(
    st.one_of(
        st.text(),
        st.binary(),
        json_values.map(json.dumps),
        st.builds(
            lambda kind, rest: json.dumps({**rest, "type": kind}),
            st.sampled_from([*CONTROLS, "hello", "ack", "ping", "session.resume", "other"]),
            st.dictionaries(fields, json_values),
        ),
    )
)
def test_parsing_is_total(text: str | bytes) -> None:
    try:
        parse_message(text)
    except StreamError as error:
        assert error.code in CODES


def test_a_text_over_the_limit_is_too_large() -> None:
    with pytest.raises(StreamError) as caught:
        parse_message('"' + "x" * 70_000 + '"')
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("text", "event_id", "rejected"),
    [
        ('{"type":"prompt","event_id":"p","text":"' + "x" * 70_000 + '"}', "p", True),
        ('{"type":"prompt",' + " " * 70_000 + '"event_id":"p","text":"x"}', "p", True),
        ('{"type":"ping","event_id":"p","t_ms":1,"x":"' + "x" * 70_000 + '"}', "p", False),
        ('{"type":"prompt","text":"\\"event_id\\": \\"x\\"' + " " * 70_000 + '"}', None, False),
        ('{"type":"picture","event_id":"p","picture":"' + "A" * 699_056 + '"}', "p", True),
        ('{"type":"session.create","picture":"' + "A" * 699_052 + '"}', None, False),
    ],
)
def test_what_is_too_long_is_answered_by_its_event(
    text: str, event_id: str | None, rejected: bool
) -> None:
    with pytest.raises(StreamError) as caught:
        parse_message(text)
    told = answer(caught.value)
    assert isinstance(told, Rejected if rejected else ErrorMessage)
    assert (told.code, told.event_id) == ("too_large", event_id)


@pytest.mark.parametrize(
    ("size", "fits"), [(MAX_PICTURE_BYTES, True), (MAX_PICTURE_BYTES + 1, False)]
)
def test_a_picture_is_too_large_from_one_byte_too_much(size: int, fits: bool) -> None:
    picture = base64.b64encode(bytes(size)).decode()
    text = json.dumps({"type": "picture", "event_id": "p", "picture": picture})
    if fits:
        parse_message(text)
        return
    with pytest.raises(TooLarge) as caught:
        parse_message(text)
    assert (caught.value.field, caught.value.event_id) == ("picture", "p")


def test_an_error_with_an_event_is_answered_by_rejected() -> None:
    rejected = answer(InvalidField("too long", field="text", event_id="e"))
    assert isinstance(rejected, Rejected)
    assert (rejected.event_id, rejected.code, rejected.field) == ("e", "invalid_field", "text")


def test_a_fatal_error_says_when_to_come_back() -> None:
    error = answer(Capacity("full", retry_after_s=12.5))
    assert isinstance(error, ErrorMessage)
    assert error.fatal and error.retry_after_s == 12.5
