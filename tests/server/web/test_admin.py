"""Streams are ended, and tokens are made, over HTTP by who may."""

from __future__ import annotations

import time

import httpx
import pytest

from rollcast.server.web.client_tokens import make_token

from ..running import resume_message, running, viewing

SECRET = "a secret of 20 chars"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_stream_is_ended_and_its_client_told() -> None:
    async with running() as server, httpx.AsyncClient(base_url=server.http, verify=False) as client:
        async with viewing(server.ws) as viewer:
            path = f"/v1/sessions/{viewer.ready['session_id']}"
            assert (await client.delete(path)).status_code == 204
            assert (await client.delete(path)).status_code == 404
            assert await viewer.wait_closed() == 4410
            error = next(each for each in viewer.messages if each["type"] == "error")
            assert (error["code"], error["fatal"]) == ("ended", True)
        assert (await client.get("/v1/sessions")).json() == []
        async with viewing(server.ws, resume=resume_message(viewer)) as again:
            assert again.ready["code"] == "session_expired"


async def test_a_stream_that_waits_for_its_client_is_ended_too() -> None:
    async with running() as server, httpx.AsyncClient(base_url=server.http, verify=False) as client:
        async with viewing(server.ws) as viewer:
            await viewer.wait_frames(1)
        path = f"/v1/sessions/{viewer.ready['session_id']}"
        assert (await client.delete(path)).status_code == 204
        assert (await client.get("/v1/sessions")).json() == []


async def test_only_who_may_ends_streams() -> None:
    later_s = int(time.time()) + 60
    async with (
        running(token=SECRET) as server,
        httpx.AsyncClient(base_url=server.http, verify=False) as client,
    ):
        for headers in ({}, bearer("guess"), bearer(make_token(SECRET, ["stream"], later_s))):
            refused = await client.delete("/v1/sessions/x", headers=headers)
            assert refused.status_code == 401, headers
        for token in (SECRET, make_token(SECRET, ["sessions"], later_s)):
            missing = await client.delete("/v1/sessions/x", headers=bearer(token))
            assert missing.status_code == 404


async def test_a_token_is_made_for_a_client() -> None:
    async with (
        running(token=SECRET) as server,
        httpx.AsyncClient(base_url=server.http, verify=False) as client,
    ):
        made = await client.post("/v1/tokens", json={"expires_in_s": 60}, headers=bearer(SECRET))
        assert made.status_code == 201
        assert made.json()["scope"] == ["stream"]
        assert made.json()["expires_s"] == pytest.approx(time.time() + 60, abs=30)
        async with viewing(server.ws, token=made.json()["token"]) as viewer:
            assert viewer.ready["type"] == "session.ready"
        every = make_token(SECRET, ["stream", "sessions"], int(time.time()) + 60)
        for token in (every, "guess"):
            refused = await client.post(
                "/v1/tokens", json={"expires_in_s": 60}, headers=bearer(token)
            )
            assert refused.status_code == 401


@pytest.mark.parametrize(
    "wish",
    [{}, {"expires_in_s": 0}, {"expires_in_s": 10**9}, {"expires_in_s": 60, "scope": ["all"]}],
)
async def test_a_wish_out_of_its_bounds_is_refused(wish: dict[str, object]) -> None:
    async with (
        running(token=SECRET) as server,
        httpx.AsyncClient(base_url=server.http, verify=False) as client,
    ):
        answer = await client.post("/v1/tokens", json=wish, headers=bearer(SECRET))
        assert answer.status_code == 422


async def test_a_server_without_a_secret_makes_no_tokens() -> None:
    async with running() as server, httpx.AsyncClient(base_url=server.http, verify=False) as client:
        assert (await client.post("/v1/tokens", json={"expires_in_s": 60})).status_code == 409
