"""Sections 1 to 3, 9 to 11, 13 and 14 of docs/protocol.md."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from .client import KEY, Message, connected, speech, token, watching
from .conftest import Start

pytestmark = pytest.mark.slow

HELLO: Message = {"type": "hello", "versions": [1], "codecs": ["jpeg"]}
SECRET = "a long and random secret"


def test_the_client_knows_the_document_only() -> None:
    assert "rollcast" not in (Path(__file__).parent / "client.py").read_text()


async def test_hello_describes_models_codecs_and_limits(url: str) -> None:
    async with connected(url) as client:
        hello = await client.greet(event_id="h")
        ready = await client.create(event_id="c")
        await client.say("session.close")
        await client.until_closed()
    assert (hello["type"], hello["version"], hello["event_id"]) == ("hello", 1, "h")
    assert (ready["type"], ready["event_id"]) == ("session.ready", "c")
    (model,) = hello["models"]
    assert {"name", "title", "width", "height", "fps", "chunk_frames", "inputs"} <= set(model)
    assert {"scenes", "prompt", "speech", "tracks", "picture", "seed"} == set(model["inputs"])
    assert set(hello["codecs"]) <= {"h264", "vp8", "jpeg"}
    assert set(hello["audio_codecs"]) == {"pcm", "opus"}
    assert {
        *("max_text_bytes", "max_picture_bytes", "max_audio_ms", "max_queued_audio_ms"),
        *("max_prompt_chars", "max_points", "max_items", "max_scheduled", "messages_per_s"),
        "ack_interval_ms",
    } <= set(hello["limits"])


async def test_ready_says_what_was_opened(url: str) -> None:
    async with watching(url, hello={"codecs": ["h264"]}, scene="grid", seed=7) as client:
        ready = client.ready
    assert (ready["scene"], ready["seed"], ready["prompt"]) == ("grid", 7, "")
    assert (ready["codec"], ready["audio_codec"]) == ("h264", "pcm")
    assert ready["codec_string"].startswith("avc1.42")
    assert (ready["generation"], ready["next_seq"], ready["resumed"]) == (0, 0, False)
    assert ready["has_picture"] is False and ready["grace_s"] > 0
    assert ready["session_id"] != ready["resume_token"]


async def test_order_is_kept_and_an_error_that_is_not_fatal_leaves_the_socket(url: str) -> None:
    async with connected(url) as client:
        early = await client.reply({"type": "session.create", "event_id": "c"})
        assert (early["type"], early["code"], early["event_id"]) == ("error", "out_of_order", "c")
        control = await client.reply({"type": "pause", "event_id": "p"})
        assert (control["type"], control["code"], control["event_id"]) == (
            *("rejected", "out_of_order"),
            "p",
        )
        await client.greet()
        again = await client.reply({**HELLO, "event_id": "h"})
        assert (again["code"], again["event_id"]) == ("out_of_order", "h")
        sound = await client.reply(speech(bytes(640), seq=9))
        assert (sound["code"], sound["seq"]) == ("out_of_order", 9)
        unknown = await client.create(model="nothing", event_id="m")
        assert (unknown["code"], unknown["event_id"]) == ("unknown_model", "m")
        scene = await client.create(scene="nothing")
        assert (scene["code"], scene["fatal"]) == ("unknown_scene", False)
        ready = await client.create()
        assert ready["type"] == "session.ready"
        twice = await client.create()
        assert twice["code"] == "out_of_order"
        await client.say("session.close")
        assert await client.until_closed() == (1000, "")


@pytest.mark.parametrize(
    ("hello", "code", "field", "close"),
    [
        ({"versions": [2, 3]}, "unsupported_version", None, 4400),
        ({"codecs": ["av9"]}, "unsupported_codec", "codecs", 4400),
        ({"audio_codecs": ["mp9"]}, "unsupported_codec", "audio_codecs", 4400),
    ],
)
async def test_what_cannot_be_spoken_is_refused(
    url: str, hello: Message, code: str, field: str | None, close: int
) -> None:
    async with connected(url) as client:
        error = await client.greet(event_id="h", **hello)
        assert (error["type"], error["code"], error.get("field")) == ("error", code, field)
        assert (error["fatal"], error["event_id"]) == (True, "h")
        assert await client.until_closed() == (close, code)


async def test_unknown_codecs_are_skipped(url: str) -> None:
    hello = {"codecs": ["av9", "jpeg"], "audio_codecs": ["mp9", "opus"], "versions": [1, 2]}
    async with watching(url, hello=hello) as client:
        assert (client.ready["codec"], client.ready["audio_codec"]) == ("jpeg", "opus")


@pytest.mark.parametrize(
    ("text", "kind", "code", "field", "event_id"),
    [
        ("", "error", "bad_json", None, None),
        ("[1]", "error", "bad_json", None, None),
        ('{"type":"ping","t_ms":NaN,"event_id":"e"}', "error", "bad_json", None, "e"),
        ('{"type":"seed","event_id":"e","seed":Infinity}', "rejected", "bad_json", None, "e"),
        ('{"type":"seed","event_id":"e","seed":', "rejected", "bad_json", None, "e"),
        ('{"type":"dance","event_id":"e"}', "error", "unknown_type", "type", "e"),
        ('{"event_id":"e"}', "error", "unknown_type", "type", "e"),
        ('{"type":"ping","t_ms":"1"}', "error", "invalid_field", "t_ms", None),
        ('{"type":"ping","t_ms":1e300}', "error", "invalid_field", "t_ms", None),
        ('{"type":"ping","t_ms":1,"x":2}', "error", "invalid_field", "x", None),
        ('{"type":"pause","event_id":7}', "error", "invalid_field", "event_id", None),
        ('{"type":"pause","event_id":"e","at_us":1}', "rejected", "invalid_field", "at_us", "e"),
        ('{"type":"seed","event_id":"e","seed":1.5}', "rejected", "invalid_field", "seed", "e"),
        ('{"type":"seed","event_id":"e","seed":true}', "rejected", "invalid_field", "seed", "e"),
        (
            '{"type":"tracks","event_id":"e","points":[]}',
            "rejected",
            "invalid_field",
            "points",
            "e",
        ),
        (
            '{"type":"ack","playhead_us":-1,"last_seq":0}',
            "error",
            "invalid_field",
            "playhead_us",
            None,
        ),
        (
            '{"type":"prompt","event_id":"e","text":"x"' + 70_000 * " " + "}",
            *("rejected", "too_large", None, "e"),
        ),
        (
            '{"type":"tracks","event_id":"e","points":[{"id":0,"phase":"down","x":2,"y":0}]}',
            *("rejected", "invalid_field", "points[0].x", "e"),
        ),
        (
            json.dumps({"type": "prompt", "event_id": "e", "text": "x" * 501}),
            *("rejected", "invalid_field", "text", "e"),
        ),
        (
            json.dumps({"type": "picture", "event_id": "e", "picture": "A" * 699_052}),
            *("rejected", "too_large", "picture", "e"),
        ),
        (
            json.dumps({"type": "picture", "event_id": "e", "picture": "!" * 8}),
            *("rejected", "invalid_field", "picture", "e"),
        ),
    ],
)
async def test_every_fault_is_named(
    url: str, text: str, kind: str, code: str, field: str | None, event_id: str | None
) -> None:
    async with watching(url, acks=False) as client:
        answer = await client.reply(text)
        assert (answer["type"], answer["code"]) == (kind, code)
        assert (answer.get("field"), answer.get("event_id")) == (field, event_id)
        assert answer["message"] and answer["hint"]
        assert not answer.get("fatal")


@pytest.mark.parametrize(
    ("header", "payload", "code", "field"),
    [
        ({"version": 2}, bytes(640), "unsupported_version", "version"),
        ({"kind": 7}, bytes(640), "unknown_type", "kind"),
        ({"kind": 1}, bytes(640), "unknown_type", "kind"),
        ({"flags": 1}, bytes(640), "invalid_field", "flags"),
        ({"flags": 0x8000}, bytes(640), "invalid_field", "flags"),
        ({"chunk": 1}, bytes(640), "invalid_field", "chunk"),
        ({"generation": 1}, bytes(640), "invalid_field", "generation"),
        ({"server_ms": 1.0}, bytes(640), "invalid_field", "server_ms"),
        ({"pts_us": float("nan")}, bytes(640), "invalid_field", "pts_us"),
        ({}, b"", "invalid_field", "payload"),
        ({}, b"\0\0\0", "invalid_field", "payload"),
        ({}, bytes(32_002), "too_large", "payload"),
    ],
)
async def test_every_fault_of_a_packet_is_named(
    url: str, header: Message, payload: bytes, code: str, field: str
) -> None:
    async with watching(url, acks=False) as client:
        answer = await client.reply(speech(payload, seq=41, **header))
        assert (answer["type"], answer["code"], answer["field"]) == ("error", code, field)
        assert (answer["seq"], answer["fatal"]) == (41, False)
        short = await client.reply(b"\x01\x10")
        assert (short["code"], short["field"]) == ("invalid_field", "header")
        assert "seq" not in short


async def test_integers_may_be_written_with_a_point(url: str) -> None:
    async with watching(url) as client:
        answer = await client.reply('{"type":"seed","event_id":"s","seed":7.0}')
        assert answer["type"] == "applied"
        assert (await client.reply({"type": "session.query"}))["seed"] == 7


async def test_the_socket_is_closed_for_what_no_message_can_answer(url: str) -> None:
    async with watching(url) as client:
        await client.send("x" * (1 << 20) + "x")
        assert (await client.until_closed())[0] == 1009
    async with connected(url) as client:
        client.socket.transport.write(Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True))
        assert (await client.until_closed())[0] == 1007


async def test_a_websocket_ping_is_answered(url: str) -> None:
    async with connected(url) as client:
        await asyncio.wait_for(await client.socket.ping(), 10)


async def test_a_socket_on_which_nothing_is_opened_is_closed(start: Start) -> None:
    async with start(hello_timeout_s=0.3) as server, connected(server.ws) as client:
        assert await client.until_closed() == (4408, "timeout")


async def test_pages_of_other_sites_and_names_are_refused(url: str) -> None:
    async with connected(url, origin="http://elsewhere.example") as client:
        assert await client.until_closed() == (4403, "forbidden_origin")
    port = int(url.split(":")[2].split("/")[0])
    foreign = url.replace("127.0.0.1", "elsewhere.example")
    async with connected(foreign, host="127.0.0.1", port=port) as client:
        assert await client.until_closed() == (4403, "forbidden_origin")
    own = url.replace("ws:", "http:").removesuffix("/v1/stream")
    async with connected(url, origin=own) as client:
        assert (await client.greet())["type"] == "hello"


async def test_a_stream_is_resumed_where_it_was(url: str) -> None:
    async with watching(url, hello={"codecs": ["h264"]}) as client:
        await client.control("prompt", text="a blue wall")
        await client.play(0.5)
        drawn = client.drawn
        async with connected(url) as other:
            await other.greet(codecs=["jpeg"])
            resume = {
                "type": "session.resume",
                "session_id": client.ready["session_id"],
                "resume_token": client.ready["resume_token"],
                "last_seq": drawn,
            }
            false = await other.reply({**resume, "resume_token": "x", "event_id": "r"})
            assert (false["code"], false["event_id"]) == ("wrong_resume_token", "r")
            false = await other.reply({**resume, "last_seq": 10**6})
            assert (false["code"], false["field"]) == ("invalid_field", "last_seq")
            false = await other.reply({**resume, "session_id": "x"})
            assert false["code"] == "unknown_session"
            ready = await other.reply(resume)
            assert ready["resumed"] and ready["generation"] == 1
            assert (ready["next_seq"], ready["prompt"], ready["codec"]) == (
                *(drawn + 1, "a blue wall"),
                "jpeg",
            )
            assert await client.until_closed() == (4409, "replaced")
            await other.until(lambda: bool(other.video()))
            first = other.video()[0]
            assert (first.seq, first.generation, first.flags & KEY) == (drawn + 1, 1, KEY)
            assert first.pts_us == (drawn + 1) * 40_000
            await other.say("session.close")
            assert (await other.until_closed())[0] == 1000
        async with connected(url) as late:
            await late.greet()
            assert (await late.reply(resume))["code"] == "session_expired"


async def test_closing_with_1000_only_loses_the_socket(url: str) -> None:
    async with connected(url) as client:
        await client.greet()
        ready = await client.create()
        await client.socket.close(1000)
    async with connected(url) as other:
        await other.greet()
        again = await other.reply(
            {
                "type": "session.resume",
                "last_seq": -1,
                **{name: ready[name] for name in ("session_id", "resume_token")},
            }
        )
        assert again["resumed"]
        await other.say("session.close")
        await other.until_closed()


async def test_places_are_limited_and_the_refusal_says_when(start: Start) -> None:
    async with start(max_sessions=1) as server, watching(server.ws), connected(server.ws) as late:
        await late.greet()
        error = await late.create()
        assert (error["code"], error["fatal"]) == ("capacity", True)
        assert error["retry_after_s"] > 0
        assert await late.until_closed() == (4429, "capacity")


async def test_the_secret_or_a_token_of_it_is_needed(start: Start) -> None:
    soon_s = int(time.time()) + 60
    async with start(token=SECRET) as server:
        for false in (
            *(None, "guess", token("another", {"exp": soon_s, "scope": ["stream"]})),
            token(SECRET, {"exp": soon_s, "scope": ["sessions"]}),
        ):
            async with connected(server.ws) as client:
                error = await client.greet(token=false)
                assert (error["code"], error["fatal"]) == ("unauthorized", True)
                assert await client.until_closed() == (4401, "unauthorized")
        right = token(SECRET, {"exp": soon_s, "scope": ["stream"], "user": 7})
        async with watching(server.ws, hello={"token": right}) as client:
            await client.play(0.2)
            resume = {
                "type": "session.resume",
                "last_seq": client.drawn,
                **{name: client.ready[name] for name in ("session_id", "resume_token")},
            }
            old = token(SECRET, {"exp": soon_s - 120, "scope": ["stream"]})
            async with watching(server.ws, hello={"token": old}, resume=resume) as again:
                assert again.ready["resumed"]
        async with connected(server.ws) as client:
            assert (await client.greet(token=old))["type"] == "hello"
            error = await client.create()
            assert (error["code"], error["fatal"]) == ("unauthorized", True)


async def test_tokens_and_streams_over_http(start: Start) -> None:
    async with start(token=SECRET) as server:
        by_secret = {"authorization": f"Bearer {SECRET}"}
        async with httpx.AsyncClient(base_url=server.http, verify=False) as http:
            wish = {"expires_in_s": 60, "scope": ["stream", "sessions"]}
            assert (await http.post("/v1/tokens", json=wish)).status_code == 401
            made = await http.post("/v1/tokens", json=wish, headers=by_secret)
            assert made.status_code == 201 and set(made.json()) == {"token", "scope", "expires_s"}
            given = {"authorization": f"Bearer {made.json()['token']}"}
            assert (await http.post("/v1/tokens", json=wish, headers=given)).status_code == 401
            async with watching(server.ws, hello={"token": made.json()["token"]}) as client:
                session_id = client.ready["session_id"]
                listed = (await http.get("/v1/sessions", headers=given)).json()
                assert [each["session_id"] for each in listed] == [session_id]
                assert client.ready["resume_token"] not in json.dumps(listed)
                path = f"/v1/sessions/{session_id}"
                assert (await http.delete(path)).status_code == 401
                assert (await http.delete(path, headers=given)).status_code == 204
                assert await client.until_closed() == (4410, "ended")
                assert (await client.type("error"))["code"] == "ended"
                assert (await http.delete(path, headers=given)).status_code == 404


async def test_the_other_paths_of_http(start: Start) -> None:
    async with start() as server, httpx.AsyncClient(base_url=server.http, verify=False) as http:
        for path in ("/", "/health", "/ready", "/metrics", "/v1/sessions", "/openapi.json"):
            assert (await http.get(path)).status_code == 200, path
        (model,) = (await http.get("/v1/models")).json()
        picture = await http.get(model["inputs"]["scenes"][0]["thumbnail"])
        assert picture.headers["content-type"] in ("image/jpeg", "image/png")
        foreign = await http.get("/health", headers={"host": "elsewhere.example"})
        assert foreign.status_code == 421
        assert (await http.post("/v1/tokens", json={"expires_in_s": 1})).status_code == 409
        with pytest.raises(InvalidStatus):
            async with connected(server.ws.replace("/v1/stream", "/v1/nothing")):
                pass
