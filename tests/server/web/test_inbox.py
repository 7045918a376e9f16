"""The rate limit answers what it refuses, and loses patience."""

import contextlib
import json

import pytest

from rollcast.server.protocol.client_messages import KeyRequest
from rollcast.server.protocol.errors import (
    BadJson,
    InvalidField,
    RateLimited,
    StreamError,
    TooLarge,
)
from rollcast.server.protocol.limits import MAX_FIRST_TEXT_BYTES, MAX_POINTS, MESSAGES_PER_S
from rollcast.server.web.inbox import TOLERATED, Inbox

PAUSE = '{"type":"pause","event_id":"e"}'


def exhausted() -> Inbox:
    inbox = Inbox(0.0)
    for _ in range(2 * MESSAGES_PER_S):
        inbox.text('{"type":"key"}', 0.0)
    return inbox


def test_a_burst_passes_and_the_rate_after_it() -> None:
    inbox = exhausted()
    with pytest.raises(RateLimited):
        inbox.text(PAUSE, 0.0)
    assert inbox.text('{"type":"key"}', 0.1) == KeyRequest()


def test_a_control_over_the_limit_is_answered_by_its_event() -> None:
    with pytest.raises(RateLimited) as caught:
        exhausted().text(PAUSE, 0.0)
    assert caught.value.event_id == "e" and not caught.value.fatal


def test_packets_count_too() -> None:
    inbox = exhausted()
    packet = bytes([1, 16, *[0] * 30, 1, 2])
    with pytest.raises(RateLimited):
        inbox.binary(packet, 0.0)
    assert inbox.binary(packet, 1.0).payload == b"\x01\x02"


def test_endless_mistakes_end_the_connection() -> None:
    inbox = Inbox(0.0)
    mistakes = [inbox.mistake(BadJson("x"), 0.0) for _ in range(TOLERATED + 1)]
    assert not any(mistake.fatal for mistake in mistakes[:-1])
    assert isinstance(mistakes[-1], RateLimited) and mistakes[-1].fatal


def test_a_message_may_cost_no_more_than_any_that_there_is() -> None:
    """Refused before it is parsed; what is valid is far from the limit."""
    inbox = Inbox(0.0)
    inbox.greeted = True
    fields = {f"a{number}": 1 for number in range(100_000)}
    for message in ({"type": "session.create", "picture": "", **fields}, {"a": [[]] * 1_000}):
        with pytest.raises(InvalidField, match="more fields"):
            inbox.text(json.dumps(message), 0.0)
    points = [{"id": n % 16, "phase": "move", "x": 0.123456789, "y": 1} for n in range(MAX_POINTS)]
    inbox.text(json.dumps({"type": "tracks", "event_id": "e", "points": points}), 0.0)
    inbox.text(json.dumps({"type": "prompt", "event_id": "e", "text": ",:[{" * 125}), 0.0)


def test_what_is_cheap_one_by_one_is_limited_by_its_sum() -> None:
    inbox = Inbox(0.0)
    inbox.greeted = True
    dear = json.dumps({"type": "key", **{f"a{number}": 1 for number in range(700)}})
    codes: list[str] = []
    for _ in range(60):
        with pytest.raises(StreamError) as caught:
            inbox.text(dear, 0.0)
        codes.append(caught.value.code)
    assert 20 < codes.count("invalid_field") < 40 and codes[-1] == "rate_limited"


def test_before_hello_a_message_is_small() -> None:
    inbox, large = Inbox(0.0), json.dumps({"type": "key"}) + " " * MAX_FIRST_TEXT_BYTES
    with pytest.raises(TooLarge):
        inbox.text(large, 0.0)
    inbox.greeted = True
    assert inbox.text(large, 0.0) == KeyRequest()


def test_what_waited_while_the_server_was_away_is_forgiven() -> None:
    inbox = exhausted()
    inbox.forgive(7.0, 0.0)  # before this connection: nothing of it waited
    with pytest.raises(RateLimited):
        inbox.text(PAUSE, 0.0)
    inbox.forgive(52.0, 45.0)
    for _ in range(45 * MESSAGES_PER_S):
        inbox.text('{"type":"key"}', 45.0)
    for _ in range(3 * MESSAGES_PER_S):
        with contextlib.suppress(RateLimited):
            inbox.text('{"type":"key"}', 45.0)
    with pytest.raises(RateLimited):
        inbox.text(PAUSE, 45.0)


def test_the_last_mistake_says_when_to_come_back() -> None:
    inbox = Inbox(0.0)
    for _ in range(TOLERATED):
        inbox.mistake(BadJson("x"), 0.0)
    last = inbox.mistake(BadJson("x"), 0.0)
    assert last.fatal and last.retry_after_s == 5 and not last.ends_stream
