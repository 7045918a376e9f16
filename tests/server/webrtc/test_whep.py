"""WHEP and WHIP over HTTP: who is answered, what the resource takes, what strangers cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from rollcast.server.web.peers import PeerLimits, Peers

from ..running import RunningServer, running, until, viewing
from .sdp import CANDIDATE, CHANNEL, HEAD, audio, video
from .watching_peer import SDP, peer

PAGE = HEAD + video() + audio() + CHANNEL
PLAYER = HEAD + video() + audio("recvonly")
SECRET = "a secret of sixteen bytes"
FRAGMENT = {"content-type": "application/trickle-ice-sdpfrag"}


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running(hello_timeout_s=1.0) as started:
        yield started


@asynccontextmanager
async def http(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.http, verify=False) as client:
        yield client


def peers(server: RunningServer) -> Peers:
    app = server.server.config.app
    return app.state.peers  # pyright: ignore[reportAttributeAccessIssue, reportFunctionMemberAccess]


async def test_an_offer_is_answered_by_a_resource(server: RunningServer) -> None:
    async with http(server) as client:
        answer = await client.post("/v1/whep", content=PAGE, headers=SDP)
        assert answer.status_code == 201
        assert answer.headers["content-type"] == "application/sdp"
        assert "H264/90000" in answer.text and "a=sendonly" in answer.text
        assert "VP8" not in answer.text
        candidates = [each for each in answer.text.splitlines() if "a=candidate" in each]
        assert candidates and all(" 127.0.0.1 " in each for each in candidates)
        resource, etag = answer.headers["location"], answer.headers["etag"]
        for headers, body, status in (
            ({"content-type": "text/plain", "if-match": etag}, "", 415),
            (FRAGMENT, "", 428),
            (FRAGMENT | {"if-match": '"other"'}, "", 412),
            (FRAGMENT | {"if-match": etag}, "a=candidate:nonsense", 400),
            (FRAGMENT | {"if-match": etag}, "a=ice-ufrag:another\r\n", 422),
            (
                FRAGMENT | {"if-match": etag},
                "a=ice-ufrag:abcd\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\n" + CANDIDATE,
                204,
            ),
        ):
            said = await client.patch(resource, content=body, headers=headers)
            assert said.status_code == status, (headers, body, said.text)
        assert (await client.delete(resource)).status_code == 200
        await until(lambda: len(peers(server)) == 0)
        assert (await client.delete(resource)).status_code == 404
        assert (await client.patch(resource, content="", headers=FRAGMENT)).status_code == 404


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        ("hello", SDP, 400, "invalid_field"),
        (PAGE, {"content-type": "text/plain"}, 400, "invalid_field"),
        (PAGE + "a=x:" + "y" * 70_000, SDP, 413, "too_large"),
        (HEAD + audio() + CHANNEL, SDP, 400, "unsupported_codec"),
        (PAGE, SDP | {"origin": "https://other.example"}, 403, "forbidden_origin"),
    ],
)
async def test_what_cannot_be_answered_says_why(
    server: RunningServer, body: str, headers: dict[str, str], status: int, code: str
) -> None:
    async with http(server) as client:
        answer = await client.post("/v1/whep", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["hint"]
    assert len(peers(server)) == 0


async def test_the_wish_of_a_player_stands_in_the_address(server: RunningServer) -> None:
    async with http(server) as client:
        for field, value in (("seed", "-1"), ("mood", "x"), ("model", "m" * 65)):
            wish = {field: value}
            answer = await client.post("/v1/whep", content=PLAYER, headers=SDP, params=wish)
            assert (answer.status_code, answer.json()["field"]) == (400, field)


async def test_who_never_connects_is_let_go(server: RunningServer) -> None:
    async with http(server) as client:
        assert (await client.post("/v1/whep", content=PAGE, headers=SDP)).status_code == 201
    assert len(peers(server)) == 1
    await until(lambda: len(peers(server)) == 0)


async def test_a_server_with_a_secret_wants_a_token() -> None:
    ice = ("stun:127.0.0.1:9",)
    async with running(token=SECRET, ice_servers=ice) as server, http(server) as client:
        answer = await client.post("/v1/whep", content=PAGE, headers=SDP)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        known = await client.get("/v1/webrtc")
        assert known.json() == {"available": True, "loopback": True}, (
            "ICE servers are for who may come"
        )
        bearer = {"authorization": f"Bearer {SECRET}"}
        known = await client.get("/v1/webrtc", headers=bearer)
        assert known.json()["ice_servers"] == [{"urls": "stun:127.0.0.1:9"}]


async def test_a_token_for_sound_opens_whip_alone() -> None:
    async with running(token=SECRET) as server, viewing(server.ws, token=SECRET) as viewer:
        await viewer.say("session.share", event_id="p", publish=True)
        token = (await viewer.wait_message(lambda m: m.get("event_id") == "p"))["share_token"]
        bearer = SDP | {"authorization": f"Bearer {token}"}
        offer = HEAD + video("sendonly") + audio("sendonly")
        async with http(server) as client:
            assert (await client.post("/v1/whep", content=PAGE, headers=bearer)).status_code == 401
            other = SDP | {"authorization": f"Bearer {SECRET}"}
            assert (await client.post("/v1/whip", content=offer, headers=other)).status_code == 401
            answer = await client.post("/v1/whip", content=offer, headers=bearer)
            assert answer.status_code == 201
            pictures, sound = answer.text.split("m=audio")
            assert "a=inactive" in pictures, "this model takes no video"
            assert "a=recvonly" in sound
            await viewer.say("session.share", event_id="r", revoke=True, expires_in_s=0)
            await until(lambda: len(peers(server)) == 0)
            gone = await client.post("/v1/whip", content=offer, headers=bearer)
            assert gone.status_code in (401, 404)


async def test_pages_of_allowed_origins_may_come() -> None:
    origin = "https://studio.example"
    async with running(allowed_origins=(origin,)) as server, http(server) as client:
        for path in ("/v1/whep", "/v1/whip/x"):
            said = await client.options(path, headers={"origin": origin})
            assert said.status_code == 204
            assert said.headers["access-control-allow-origin"] == origin
            assert "PATCH" in said.headers["access-control-allow-methods"]
            assert "authorization" in said.headers["access-control-allow-headers"]
        answer = await client.post("/v1/whep", content=PAGE, headers=SDP | {"origin": origin})
        assert answer.status_code == 201
        assert "location" in answer.headers["access-control-expose-headers"]
        said = await client.options("/v1/whep", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in said.headers


async def test_strangers_get_so_many_peers_and_no_more() -> None:
    limits = PeerLimits(
        total=3, per_address=2, new_per_address_per_s=0.5, new_per_address_at_once=4
    )
    table = Peers(limits)

    class Nobody:
        ice_user = None

        async def add_candidates(self, candidates: list) -> None: ...

        async def close(self) -> None: ...

    from rollcast.server.protocol.errors import Capacity, RateLimited

    entries = [table.add(table.admit("192.0.2.1", 0.0), Nobody()) for _ in range(2)]
    with pytest.raises(Capacity):
        table.admit("192.0.2.1", 0.0)
    table.add(table.admit("2001:db8::1", 0.0), Nobody())
    with pytest.raises(Capacity):
        table.admit("192.0.2.9", 0.0)
    await table.drop(entries[0])
    table.admit("192.0.2.1", 0.0)
    with pytest.raises(RateLimited) as told:
        table.admit("192.0.2.1", 0.0)
    assert told.value.retry_after_s == 2.0


async def test_without_it_the_page_is_told_so() -> None:
    async with running(webrtc=False) as server, http(server) as client:
        assert (await client.get("/v1/webrtc")).json() == {"available": False}
        assert (await client.post("/v1/whep", content=PAGE, headers=SDP)).status_code in (404, 405)


async def test_a_peer_sees_hears_and_steers(server: RunningServer) -> None:
    async with peer(server, speaks=False) as viewer:
        ready = await viewer.open()
        assert (ready["type"], ready["codec"], ready["audio_codec"]) == (
            "session.ready",
            "h264",
            "opus",
        )
        assert (await viewer.control("prompt", text="a blue wall"))["type"] == "applied"
        await viewer.until(lambda: len(viewer.pictures) >= 10 and len(viewer.sounds) >= 10)
        codes = viewer.barcodes()
        assert codes == list(range(codes[0], codes[0] + len(codes)))
        clock = await viewer.of_type("media.clock")
        assert 0 <= clock["rtp_timestamp"] < 2**32
        viewer.say("session.close")
        await until(lambda: not server.engine.streams)
    await until(lambda: len(peers(server)) == 0)
