"""The HTTP side of a running server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from rollcast.server.web.page import content_security_policy

from ..running import FailingPattern, RunningServer, SlowPattern, running, until, viewing


async def get(
    server: RunningServer, path: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    async with httpx.AsyncClient(verify=False) as client:
        return await client.get(server.http + path, headers=headers)


async def test_health_and_readiness_follow_the_model() -> None:
    async with running(lambda: [SlowPattern(0.05)], wait_ready=False, max_sessions=2) as server:
        loading = await get(server, "/ready")
        assert (loading.status_code, loading.json()["engine"]) == (503, "loading")
        assert (await get(server, "/health")).status_code == 200
        await server.ready()
        ready = await get(server, "/ready")
        assert ready.status_code == 200
        assert ready.json() == {"ready": True, "engine": "ready", "sessions": 0, "places": 2}
        async with viewing(server.ws):
            one = await get(server, "/ready")
            assert (one.status_code, one.json()["places"]) == (200, 1)
            async with viewing(server.ws):
                full = await get(server, "/ready")
                assert full.status_code == 503
                assert full.json() == {
                    "ready": False,
                    "engine": "ready",
                    "sessions": 2,
                    "places": 0,
                }


async def test_health_says_why_it_is_red() -> None:
    async with running(lambda: [FailingPattern()]) as server:
        async with viewing(server.ws) as viewer:
            await viewer.say("prompt", event_id="e", text="break")
            await viewer.wait_closed()
        health = await get(server, "/health")
        assert health.status_code == 503
        (model,) = health.json()["models"]
        assert (model["condition"], model["why"]) == ("failed", "the model stopped working")
        assert (await get(server, "/ready")).status_code == 503


async def test_models_and_thumbnails() -> None:
    async with running() as server:
        (model,) = (await get(server, "/v1/models")).json()
        assert model["name"] == "test-pattern"
        assert "camera" not in model["inputs"], "what is not taken is left out"
        picture = await get(server, model["inputs"]["scenes"][1]["thumbnail"])
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content.startswith(b"\xff\xd8")
        for path in ("x/scenes/bars", "test-pattern/scenes/x"):
            missing = await get(server, f"/v1/models/{path}/thumbnail")
            assert missing.status_code == 404


async def test_sessions_need_the_token_and_show_no_secret() -> None:
    async with running(token="secret") as server:
        refused = await get(server, "/v1/sessions")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        async with viewing(server.ws, token="secret") as viewer:
            await viewer.wait_frames(4)
            answer = await get(server, "/v1/sessions", {"Authorization": "Bearer secret"})
            (session,) = answer.json()
            assert session["session_id"] == viewer.ready["session_id"]
            assert session["attached"] and session["scene"] == "bars"
            assert viewer.ready["resume_token"] not in answer.text
        assert (await get(server, "/health")).status_code == 200


async def test_metrics_count_what_happens() -> None:
    async with running() as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(12)
        await viewer.say("ping", t_ms=1)
        await viewer.socket.send("nonsense")
        await viewer.wait_message(lambda m: m["type"] == "error")
        text = (await get(server, "/metrics")).text
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert float(values["rollcast_frames_sent_total"]) >= 12
        assert float(values["rollcast_chunks_total"]) >= 3
        assert float(values["rollcast_bytes_sent_total"]) > 10_000
        assert values['rollcast_errors_total{code="bad_json"}'] == "1.0"
        assert values['rollcast_messages_total{type="ping"}'] == "1.0"
        assert float(values["rollcast_sessions"]) == 1
        assert float(values["rollcast_ready"]) == 1
        for stage in ("step", "receive", "control", "deliver", "encode", "send"):
            assert float(values[f'rollcast_stage_seconds_count{{stage="{stage}"}}']) > 0


async def test_pages_come_with_safe_headers() -> None:
    async with running() as server:
        for path in ("/", "/health", "/client/main.js", "/nothing"):
            headers = (await get(server, path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "server" not in headers


async def test_the_page_is_served_and_nothing_else_of_its_folder() -> None:
    client = Path(__file__).parents[3] / "client" / "web"
    async with running() as server:
        page = await get(server, "/")
        assert page.status_code == 200 and page.headers["cache-control"] == "no-store"
        for name in ("index.html", "main.js", "style.css", "media/audio-out.worklet.js"):
            answer = await get(server, f"/client/{name}")
            assert answer.content == (client / name).read_bytes()
        for path in (
            *(
                "package.json",
                "jsconfig.json",
                "worklet-globals.d.ts",
                "net/messages.d.ts",
                "node_modules/x.js",
            ),
            *("..%2f__init__.py", "..%2f..%2fserver%2fapp.py", "..%2fREADME.html", "", "ui", "ui/"),
        ):
            assert (await get(server, f"/client/{path}")).status_code == 404, path


async def test_a_foreign_host_name_is_refused() -> None:
    async with running() as server:
        answer = await get(server, "/v1/models", {"Host": "evil.example"})
        assert answer.status_code == 421


async def test_openapi_describes_the_routes() -> None:
    async with running() as server:
        paths = (await get(server, "/openapi.json")).json()["paths"]
        assert {"/health", "/ready", "/metrics", "/v1/models", "/v1/sessions"} <= set(paths)
        assert (await get(server, "/docs")).status_code == 404


@pytest.mark.parametrize("host", ["a b", "x;script-src *", "x\ny", ""])
def test_a_strange_host_never_gets_into_the_policy(host: str) -> None:
    assert "ws:" not in content_security_policy(host)


async def test_shutdown_turns_readiness_off_first() -> None:
    async with running(drain_s=0.3) as server, viewing(server.ws) as viewer:
        await viewer.wait_frames(1)
        server.server.should_exit = True
        await viewer.wait_message(lambda m: m["type"] == "draining")
        assert server.engine.health == "draining"
        await viewer.wait_closed()
        await until(lambda: not server.engine.streams)
        await asyncio.sleep(0)
