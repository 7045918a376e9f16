"""Tokens made by the secret: what they permit, for how long, and that nobody else makes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest

from rollcast.server.config import ServerConfig
from rollcast.server.protocol.errors import Unauthorized
from rollcast.server.protocol.limits import MAX_TOKEN_CHARS
from rollcast.server.secret import Secret
from rollcast.server.web.client_tokens import SCOPES, make_token, read_token
from rollcast.server.web.security import TokenExpired, check_token

from ..running import resume_message, running, viewing

SECRET = "a secret of 20 chars"
CONFIG = ServerConfig(token=Secret(SECRET))


def test_a_token_says_what_it_permits_and_until_when() -> None:
    claims = read_token(SECRET, make_token(SECRET, ["stream"], 1_000))
    assert claims is not None
    assert (claims.scope, claims.expires_s) == ({"stream"}, 1_000)
    assert len(make_token(SECRET, SCOPES, 2**40)) <= MAX_TOKEN_CHARS


def test_anyone_with_the_secret_can_make_one_from_the_description() -> None:
    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    signed = "rc1." + text(b'{"scope": ["stream"], "exp": 1000, "name": "more is ignored"}')
    mac = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    claims = read_token(SECRET, f"{signed}.{text(mac)}")
    assert claims is not None and claims.scope == {"stream"}


@pytest.mark.parametrize(
    "claims", [b"", b"[]", b"7", b"{}", b'{"exp":1}', b'{"exp":"x","scope":[]}', b"\xff", b"{"]
)
def test_what_the_secret_signed_by_mistake_is_no_token(claims: bytes) -> None:
    signed = "rc1." + base64.urlsafe_b64encode(claims).decode().rstrip("=")
    mac = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    assert (
        read_token(SECRET, f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}") is None
    )


def test_a_changed_token_is_none() -> None:
    token = make_token(SECRET, ["stream"], 1_000)
    assert read_token("another secret", token) is None
    prefix, claims, signature = token.split(".")
    wider = json.dumps({"exp": 10**9, "scope": ["stream"]}).encode()
    forged = base64.urlsafe_b64encode(wider).decode().rstrip("=")
    for false in (
        *(f"{prefix}.{forged}.{signature}", f"rc2.{claims}.{signature}", f"{prefix}.{claims}."),
        *(f"{prefix}.{claims}", claims, "", ".", "..", "rc1.é.é", token[:-1], token + "A"),
    ):
        assert read_token(SECRET, false) is None, false


def test_only_its_scope_is_permitted_and_only_in_time() -> None:
    token = make_token(SECRET, ["stream"], 1_000)
    check_token(token, CONFIG, "stream", 999.9)
    with pytest.raises(TokenExpired):
        check_token(token, CONFIG, "stream", 1_000)
    for scope in ("sessions", None):
        with pytest.raises(Unauthorized, match="does not permit") as caught:
            check_token(token, CONFIG, scope, 0)
        assert not isinstance(caught.value, TokenExpired)
    check_token(SECRET, CONFIG, None, 2_000)


async def test_a_client_comes_in_with_a_token_of_its_own() -> None:
    token = make_token(SECRET, ["stream"], int(time.time()) + 60)
    async with running(token=SECRET) as server, viewing(server.ws, token=token) as viewer:
        assert viewer.ready["type"] == "session.ready"
        await viewer.wait_frames(4)


async def test_after_its_time_a_token_is_good_for_the_old_stream_only() -> None:
    token = make_token(SECRET, ["stream"], int(time.time()) - 1)
    async with running(token=SECRET) as server:
        async with viewing(server.ws, token=SECRET) as viewer:
            await viewer.wait_frames(4)
            resume = resume_message(viewer)
        async with viewing(server.ws, token=token) as late:
            assert (late.ready["code"], late.ready["fatal"]) == ("unauthorized", True)
            assert "expired" in late.ready["message"]
        async with viewing(server.ws, token=token, resume=resume) as again:
            assert again.ready["resumed"]
        false = {**resume, "resume_token": "guess"}
        async with viewing(server.ws, token=token, resume=false) as thief:
            assert thief.ready["code"] == "wrong_resume_token"
