"""Wrong tokens are told to the log with their address, and soon no more are looked at."""

from __future__ import annotations

import json

import httpx
import pytest
import structlog
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from rollcast.server.config import ServerConfig
from rollcast.server.protocol.errors import RateLimited, StreamError, Unauthorized
from rollcast.server.secret import Secret
from rollcast.server.web.bounded_log import BoundedLog
from rollcast.server.web.failed_logins import GUESSES, FailedLogins
from rollcast.server.web.pace import Allowance

from ..running import RunningServer, running

AT_ONCE = int(GUESSES.at_once)
CONFIG = ServerConfig(token=Secret("right"))


def check(logins: FailedLogins, given: str | None, host: str = "192.0.2.1", at_s: float = 0.0):
    try:
        logins.check(given, "stream", host=host, over="test", now_s=at_s)
    except StreamError as error:
        return type(error)
    return None


def logins(config: ServerConfig = CONFIG) -> FailedLogins:
    return FailedLogins(config, BoundedLog("rollcast.test"))


def test_after_some_wrong_tokens_none_is_looked_at_for_a_while() -> None:
    door = logins()
    guesses = [check(door, f"guess {number}") for number in range(AT_ONCE + 3)]
    assert guesses == [Unauthorized] * AT_ONCE + [RateLimited] * 3
    assert check(door, "right") is RateLimited, "or a guesser would see which one is right"
    assert check(door, "right", "198.51.100.1") is None
    assert check(door, "right", at_s=2.0) is None, "a right one costs nothing"
    assert check(door, "right", at_s=2.0) is None


def test_who_has_one_address_of_ipv6_has_all_of_its_network() -> None:
    door = logins()
    guesses = [check(door, "guess", f"2001:db8::{number:x}") for number in range(20)]
    assert guesses.count(Unauthorized) == AT_ONCE


def test_the_refusal_says_when_to_try_again() -> None:
    door = logins()
    for _ in range(AT_ONCE):
        check(door, "guess")
    with pytest.raises(RateLimited) as caught:
        door.check("guess", "stream", host="192.0.2.1", over="test", now_s=0.0)
    assert caught.value.retry_after_s == 2.0 and caught.value.fatal


def test_a_token_that_is_missing_is_no_guess() -> None:
    door = logins()
    assert {check(door, None) for _ in range(100)} == {Unauthorized}
    assert check(door, "right") is None


def test_without_a_token_there_is_nothing_to_guess() -> None:
    door = logins(ServerConfig())
    assert {check(door, given) for given in (None, "", "x") for _ in range(50)} == {None}


async def test_both_ways_in_log_the_address_and_share_the_count() -> None:
    # in a busy minute no more guesses are looked at than in a quick second
    async with running(token="right", guesses=Allowance(per_s=1e-3, at_once=10)) as server:
        with capture_logs() as lines:
            codes = [await over_http(server, "guess") for _ in range(5)]
            codes += [await over_websocket(server, "guess") for _ in range(7)]
            assert codes == [401] * 5 + [4401] * 5 + [4429] * 2
            assert await over_http(server, "right") == 429
        failed = [line for line in lines if line["event"] == "login failed"]
        assert {line["address"] for line in failed} == {"127.0.0.1"}
        assert [line["over"] for line in failed] == ["http"] * 5 + ["websocket"] * 5
        assert "guess" not in str(lines)


def test_one_address_writes_some_lines_and_then_how_many_it_did_not() -> None:
    structlog.reset_defaults()
    log = BoundedLog("rollcast.test", Allowance(per_s=1, at_once=3))
    with capture_logs() as lines:
        for _ in range(10):
            log.info("refused", "192.0.2.1", 0.0)
        log.info("refused", "198.51.100.1", 0.0)
        log.info("refused", "192.0.2.1", 1.0)
    assert [line.get("left_out_before") for line in lines] == [None, None, None, None, 7]
    assert lines[3]["address"] == "198.51.100.1"


async def test_an_address_behind_a_trusted_proxy_is_its_own_and_no_other_may_say_so() -> None:
    for trusted in (("127.0.0.1",), ()):
        async with running(token="right", trusted_proxies=trusted) as server:
            with capture_logs() as lines:
                await over_http(server, "guess", {"X-Forwarded-For": "192.0.2.7"})
            (line,) = [line for line in lines if line["event"] == "login failed"]
            assert line["address"] == ("192.0.2.7" if trusted else "127.0.0.1")


async def over_http(server: RunningServer, token: str, more: dict[str, str] | None = None) -> int:
    async with httpx.AsyncClient() as client:
        headers = {"Authorization": f"Bearer {token}", **(more or {})}
        answer = await client.get(f"{server.http}/v1/sessions", headers=headers)
        assert answer.status_code != 429 or int(answer.headers["retry-after"]) > 0
        return answer.status_code


async def over_websocket(server: RunningServer, token: str) -> int | None:
    async with connect(server.ws) as socket:
        hello = {"type": "hello", "versions": [1], "codecs": ["jpeg"], "token": token}
        await socket.send(json.dumps(hello))
        assert json.loads(await socket.recv())["fatal"]
        await socket.wait_closed()
        return socket.close_code
