"""The rate limit answers what it refuses, and loses patience."""

import pytest

from rollcast.server.protocol.client_messages import KeyRequest
from rollcast.server.protocol.errors import BadJson, RateLimited
from rollcast.server.protocol.limits import MESSAGES_PER_S
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


def test_what_waited_while_the_server_stood_still_is_permitted_once() -> None:
    inbox = exhausted()
    inbox.excuse(2.0)
    for _ in range(2 * MESSAGES_PER_S):
        inbox.text('{"type":"key"}', 0.0)
    with pytest.raises(RateLimited):
        inbox.text('{"type":"key"}', 0.0)
