"""A secret is compared and handed on, and nothing prints it."""

import copy
import json
import pickle
from typing import Any

import pytest

from rollcast.server.config import ServerConfig
from rollcast.server.protocol.messages import parse_message
from rollcast.server.secret import Secret

HUSH = Secret("hush-hush")


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r:>40}".format,
        lambda secret: f"{secret}",
        lambda secret: "%s" % secret,  # noqa: UP031
        lambda secret: repr(ServerConfig(token=secret)),
        lambda secret: repr([secret]),
        lambda secret: json.dumps({"token": secret}, default=repr),
    ],
)
def test_nothing_prints_it(show: Any) -> None:
    assert "hush" not in show(HUSH)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_not_copied_into_files_or_other_processes(copied: Any) -> None:
    with pytest.raises(TypeError):
        copied(HUSH)


def test_it_matches_itself_alone() -> None:
    assert HUSH.matches("hush-hush") and HUSH.reveal() == "hush-hush"
    for other in ("", "hush", "Hush-hush", "hush-hush\0", "húsh", "\ud800"):
        assert not HUSH.matches(other)
    assert Secret("é\ud800").matches("é\ud800")
    assert Secret("a") == Secret("a") != Secret("b")
    assert {Secret("a"): 1}[Secret("a")] == 1
    assert Secret("a") != "a"


def test_no_message_prints_the_secret_that_it_carries() -> None:
    hello = {"type": "hello", "versions": [1], "codecs": ["jpeg"], "token": "hush"}
    resume = {"type": "session.resume", "session_id": "s", "resume_token": "hush", "last_seq": 1}
    for message in (hello, resume):
        assert "hush" not in repr(parse_message(json.dumps(message)))
