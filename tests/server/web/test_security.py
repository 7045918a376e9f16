"""Hosts, origins and tokens."""

import pytest

from rollcast.server.config import ServerConfig
from rollcast.server.protocol.errors import ForbiddenOrigin, Unauthorized
from rollcast.server.secret import Secret
from rollcast.server.web.security import bearer, check_origin, check_token, host_allowed

LOCAL = ServerConfig(allowed_hosts=("lan.test",), allowed_origins=("https://partner.example",))
PUBLIC = ServerConfig(host="0.0.0.0", token=Secret("secret"))
NAMED = ServerConfig(host="0.0.0.0", token=Secret("secret"), allowed_hosts=("video.example",))


@pytest.mark.parametrize(
    ("host", "config", "allowed"),
    [
        ("127.0.0.1:8000", LOCAL, True),
        ("localhost", LOCAL, True),
        ("LOCALHOST:1", LOCAL, True),
        ("[::1]:8000", LOCAL, True),
        ("lan.test:8000", LOCAL, True),
        ("evil.example", LOCAL, False),
        ("127.0.0.1.evil.example", LOCAL, False),
        ("evil.example@127.0.0.1", LOCAL, False),
        ("", LOCAL, False),
        (None, LOCAL, False),
        ("[broken", LOCAL, False),
        ("anything.example", PUBLIC, True),
        ("anything.example", NAMED, False),
        ("video.example", NAMED, True),
    ],
)
def test_hosts(host: str | None, config: ServerConfig, allowed: bool) -> None:
    assert host_allowed(host, config) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("https://localhost:8000", "LOCALHOST:8000", True),
        ("https://partner.example", "127.0.0.1:8000", True),
        ("http://partner.example", "127.0.0.1:8000", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:9000", "127.0.0.1:8000", False),
        ("http://evil.example", "127.0.0.1:8000", False),
        ("http://evil.example", "evil.example", False),
        ("null", "127.0.0.1:8000", False),
        ("http://[broken", "127.0.0.1:8000", False),
        ("", "127.0.0.1:8000", False),
    ],
)
def test_origins(origin: str | None, host: str, allowed: bool) -> None:
    if allowed:
        check_origin(origin, host, LOCAL)
    else:
        with pytest.raises(ForbiddenOrigin):
            check_origin(origin, host, LOCAL)


@pytest.mark.parametrize("given", [None, "", "Secret", "secret ", "sécret"])
def test_a_wrong_token_is_refused(given: str | None) -> None:
    with pytest.raises(Unauthorized):
        check_token(given, PUBLIC, "stream", 0.0)
    check_token("secret", PUBLIC, None, 0.0)
    check_token(given, LOCAL, None, 0.0)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc", "abc"),
        ("Basic abc", None),
        (None, None),
        ("Bearer", None),
    ],
)
def test_bearer(header: str | None, token: str | None) -> None:
    assert bearer(header) == token
